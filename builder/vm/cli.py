"""`bedplate run`: boot a built image in QEMU, its console on the terminal."""

import argparse
import logging
import re
import sys
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from builder.arguments import port
from builder.vm.accelerator import accelerator
from builder.vm.config import MIB, Forward, MachineConfig, UserNetwork
from builder.vm.machine import Machine
from builder.vm.uki import kernel_of
from updater.errors import InputError

if TYPE_CHECKING:
    # argparse keeps this name to itself, but has no other for it.
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_log = logging.getLogger(__name__)

_SIZE = re.compile(r"([0-9]+)([MG])")


def add_commands(subparsers: "Subparsers") -> None:
    """Add `run` to a parser; it sets `func`, called with the arguments."""
    run = subparsers.add_parser(
        "run",
        help="boot a built image in QEMU",
        description="Boot a built image in QEMU, its console on the terminal, until Ctrl-C. "
        "The image itself is never written.",
    )
    run.add_argument("image", type=Path, metavar="IMAGE", help="a built .raw or .qcow2")
    run.add_argument("--memory", default="1G", metavar="SIZE", help="such as 768M or 2G (1G)")
    run.add_argument("--disk-size", default="8G", metavar="SIZE", help="of the disk (8G)")
    run.add_argument(
        "--ssh-port",
        type=port,
        metavar="PORT",
        help="a port of 127.0.0.1 that leads to the guest's port 22; 0 for a free one",
    )
    run.add_argument(
        "--credential",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="hand the guest a systemd credential; @FILE as VALUE reads it from a file",
    )
    run.add_argument(
        "--console",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="show the guest's console here",
    )
    run.add_argument(
        "--state",
        type=Path,
        metavar="FOLDER",
        help="keep the machine's disk there for the next run; forgotten otherwise",
    )
    run.add_argument(
        "--cache", type=Path, default=Path(".cache"), metavar="FOLDER", help="(.cache)"
    )
    run.set_defaults(func=_run)


def parse_size(text: str) -> int:
    """`768M` or `2G` (binary units) in bytes.

    Raises:
        InputError: anything else.
    """
    match = _SIZE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise InputError(f"{text}: expected a size such as 768M or 2G")
    return int(match[1]) * (MIB if match[2] == "M" else 1024 * MIB)


def parse_credentials(pairs: list[str]) -> dict[str, str | bytes]:
    """`["name=value", "other=@file"]` as a mapping.

    Raises:
        InputError: a text without `=` or without a name, or a file that cannot be read.
    """
    credentials: dict[str, str | bytes] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--credential {pair}: expected NAME=VALUE")
        if not value.startswith("@"):
            credentials[name] = value
            continue
        try:
            credentials[name] = Path(value[1:]).read_bytes()
        except OSError as error:
            raise InputError(f"--credential {name}: {value[1:]}: {error.strerror}") from error
    return credentials


def newest_tool_tree(cache: Path) -> Path:
    """The tool tree that the last build left in the cache.

    Raises:
        InputError: there is none.
    """
    # The lab's tree is there too, and has no QEMU.
    found = (cache / "tools").glob("*/usr/bin/qemu-system-x86_64")
    trees = [program.parents[2] for program in found]
    if not trees:
        raise InputError(f"{cache}/tools holds no tool tree; `bedplate build` makes it")
    return max(trees, key=lambda tree: tree.stat().st_mtime).resolve()


def _run(arguments: argparse.Namespace) -> int:
    tree = newest_tool_tree(arguments.cache)
    forwards = () if arguments.ssh_port is None else (Forward(22, arguments.ssh_port),)
    with ExitStack() as cleanup:
        scratch = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="bedplate-run.")))
        config = MachineConfig(
            folder=(arguments.state or scratch).resolve(),
            accelerator=accelerator(
                tree, _kernel_beside(arguments.image, scratch), arguments.cache
            ),
            image=arguments.image,
            disk_size=parse_size(arguments.disk_size),
            memory=parse_size(arguments.memory),
            credentials=parse_credentials(arguments.credential),
            networks=(UserNetwork(forwards),),
        )
        with suppress(KeyboardInterrupt), Machine(config, tree) as machine:
            _log.info("%s runs with %s; Ctrl-C ends it", arguments.image, config.accelerator)
            if forwards:
                _log.info("ssh: port %d of 127.0.0.1", machine.port(22))
            _follow(machine, show=arguments.console)
    return 0


def _kernel_beside(image: Path, scratch: Path) -> Path | None:
    """The kernel of the release the image was built with, to probe KVM by, when it is there."""
    for uki in sorted(image.parent.glob("*.efi")):
        kernel = scratch / "vmlinuz"
        with suppress(InputError):
            kernel.write_bytes(kernel_of(uki))
            return kernel
    return None


def _follow(machine: Machine, *, show: bool) -> None:
    for raw in machine.follow_console():
        if show:
            sys.stdout.buffer.write(raw)
            sys.stdout.buffer.flush()
