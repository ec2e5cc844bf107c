"""The lab: a tree of Debian packages with namespaces of its own, for tests that meet real parts.

`python -m tests.lab tests/net -k lease` runs pytest in it; `python -m tests.lab --pods
tests/podlab` where podman can run.

Agents run in it on the Python and the libraries that hosts have, with etcd and the kernel's own
network devices, and nothing they do is seen outside. The same tree runs inside a Bedplate host,
for what the machine's own kernel lacks.
"""

import ctypes
import os
import pwd
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from builder.run import CommandError, run
from builder.steps.bootstrap import Selection, Variant, bootstrapped

PROJECT = Path(__file__).parents[1]
_IMPORTED = (".", "cloud-config", "tests/net", "tests/podlab")
# The conftest above is the workstation's; the project is read only.
OPTIONS = ("--confcutdir", "tests/net", "-p", "lab_fixtures", "-p", "no:cacheprovider")
_POD_OPTIONS = ("--confcutdir", "tests/podlab", "-p", "pod_fixtures", "-p", "no:cacheprovider")
_PACKAGES = (
    "aardvark-dns",
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
    "python3-systemd",
    "python3-tornado",
    "python3-yaml",
    "systemd-journal-remote",  # writes journal files for tests
    "wireguard-tools",
    "catatonit",
    "conmon",
    "crun",
    "docker-registry",
    "mount",  # for a file system whose size a test chooses
    "netavark",
    "podman",
)
_CLONE_NEWUSER = 0x10000000
_IDS = 65536


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


def argv(tree: Path, command: Sequence[str], *, pods: bool = False) -> list[str]:
    """The command line that runs `command` in the lab, as root of its own namespaces (bwrap(1)).

    Args:
        tree: what `lab_tree` gave.
        command: a program of the tree, by its full path, and its arguments.
        pods: who runs this has called `enter_user_namespace`, and podman is to run.
    """
    view = ["bwrap", "--die-with-parent"]
    view += [] if pods else ["--unshare-user", "--uid", "0", "--gid", "0"]
    view += ["--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-add", "ALL"]
    for name in ("usr", "etc"):
        view += ["--ro-bind", str(tree / name), f"/{name}"]
    for name in ("bin", "sbin", "lib", "lib64"):
        view += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in ("/root", "/run", "/sys", "/tmp", "/var"):  # noqa: S108 - in a namespace of its own
        view += ["--tmpfs", name]
    # The machine's own cgroups are out of sight; podman wants to see that there are some.
    view += ["--tmpfs", "/etc/containers", "--unshare-cgroup"] if pods else []
    view += ["--proc", "/proc", "--dev", "/dev", "--ro-bind", str(PROJECT), str(PROJECT)]
    view += ["--chdir", str(PROJECT), "--clearenv"]
    for name, value in environment(PROJECT).items():
        view += ["--setenv", name, value]
    return [*view, "--", *command]


def enter_user_namespace() -> None:
    """Become root of a user namespace with 65536 ids, of which containers need more than one.

    As root they are the machine's own, else the caller's subordinate ones (subuid(5)).

    Raises:
        CommandError: the ids are not given.
        OSError: the machine allows no user namespaces.
    """
    ready, left = os.pipe()
    outer = os.getpid()
    helper = os.fork()
    if not helper:
        # A map of more than one id is written from outside (user_namespaces(7)).
        os.close(left)
        os.read(ready, 1)
        _write_maps(outer)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "cannot make a user namespace")
    os.close(left)
    if os.waitpid(helper, 0)[1]:
        raise CommandError("the lab of pods needs 65536 user ids; see newuidmap(1) and subuid(5)")


def _write_maps(process: int) -> NoReturn:
    """Give a process's new user namespace its ids, and end."""
    status = 1
    try:
        for kind, own in (("uid", os.getuid()), ("gid", os.getgid())):
            if own == 0:
                Path(f"/proc/{process}/{kind}_map").write_text(f"0 0 {_IDS}\n")
            else:
                first = _subordinate(Path(f"/etc/sub{kind}"))
                ids = ["0", str(own), "1", "1", str(first), str(_IDS - 1)]
                run([f"new{kind}map", str(process), *ids])
        status = 0
    finally:
        os._exit(status)


def _subordinate(table: Path) -> int:
    """The first of the ids that the caller has, by name or by number."""
    owners = (pwd.getpwuid(os.getuid()).pw_name, str(os.getuid()))
    lines = [line.split(":") for line in table.read_text().splitlines()]
    return next(int(first) for owner, first, _count in lines if owner in owners)


def main(arguments: Sequence[str]) -> None:
    """Become pytest inside the lab; its exit status is ours."""
    pods = "--pods" in arguments[:1]
    options, asked = (_POD_OPTIONS, arguments[1:]) if pods else (OPTIONS, arguments)
    try:
        tree = lab_tree(PROJECT / ".cache", on_line=lambda _line: None)
        if pods:
            enter_user_namespace()
    except CommandError as error:
        sys.exit(f"tests.lab: {error}")
    command = argv(tree, ["/usr/bin/python3", "-m", "pytest", *options, *asked], pods=pods)
    os.execvp(command[0], command)  # noqa: S606 - this program becomes that one


if __name__ == "__main__":
    main(sys.argv[1:])
