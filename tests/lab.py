"""The lab: a tree of Debian packages with namespaces of its own, for tests that meet real parts.

`python -m tests.lab tests/net -k lease` runs pytest in it.

Agents run in it on the Python and the libraries that hosts have, with etcd and the kernel's own
network devices, and nothing they do is seen outside. The same tree runs inside a Bedplate host,
for what the machine's own kernel lacks.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.run import CommandError
from builder.steps.bootstrap import Selection, Variant, bootstrapped

PROJECT = Path(__file__).parents[1]
# The conftest above is the workstation's; the project is read only.
_IMPORTED = (".", "cloud-config", "tests/net")
OPTIONS = ("--confcutdir", "tests/net", "-p", "lab_fixtures", "-p", "no:cacheprovider")
_PACKAGES = (
    "busybox-static",
    "etcd-client",
    "etcd-server",
    "iproute2",
    "iputils-ping",
    "nftables",
    "openssl",
    "python3-cryptography",
    "python3-hypothesis",
    "python3-pyroute2",
    "python3-pytest",
    "python3-requests",
    "python3-yaml",
    "wireguard-tools",
)


def lab_tree(cache: Path, *, on_line: Callable[[str], None]) -> Path:
    """The lab's folder, bootstrapped when the cache does not hold it.

    Raises:
        CommandError: the bootstrap failed.
    """
    return bootstrapped(Selection("trixie", Variant.APT, _PACKAGES), cache, on_line=on_line)


def environment(project: Path) -> dict[str, str]:
    """The variables of programs in the lab, where the project is at `project`."""
    return {
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/sbin:/usr/bin",
        "PYTHONPATH": ":".join(str(project / each) for each in _IMPORTED),
        "PYTHONPYCACHEPREFIX": "/tmp/pycache",  # noqa: S108 - in namespaces of its own
    }


def argv(tree: Path, command: Sequence[str]) -> list[str]:
    """The command line that runs `command` in the lab, as root of its own namespaces (bwrap(1))."""
    view = ["bwrap", "--die-with-parent", "--unshare-user", "--uid", "0", "--gid", "0"]
    view += ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-add", "ALL"]
    for name in ("usr", "etc"):
        view += ["--ro-bind", str(tree / name), f"/{name}"]
    for name in ("bin", "sbin", "lib", "lib64"):
        view += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in ("/root", "/run", "/sys", "/tmp", "/var"):  # noqa: S108 - in a namespace of its own
        view += ["--tmpfs", name]
    view += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", str(PROJECT), str(PROJECT)]
    view += ["--chdir", str(PROJECT), "--clearenv"]
    for name, value in environment(PROJECT).items():
        view += ["--setenv", name, value]
    return [*view, "--", *command]


def main(arguments: Sequence[str]) -> None:
    """Become pytest inside the lab; its exit status is ours."""
    try:
        tree = lab_tree(PROJECT / ".cache", on_line=lambda _line: None)
    except CommandError as error:
        sys.exit(f"tests.lab: {error}")
    command = argv(tree, ["/usr/bin/python3", "-m", "pytest", *OPTIONS, *arguments])
    os.execvp(command[0], command)  # noqa: S606 - this program becomes that one


if __name__ == "__main__":
    main(sys.argv[1:])
