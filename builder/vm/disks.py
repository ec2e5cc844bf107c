"""The files of a machine: overlays over images that are never written, firmware variables."""

import base64
import json
import re
import shutil
from pathlib import Path

from builder.run import Sandbox
from builder.vm.config import FIRMWARE_VARIABLES, MachineConfig, UserNetwork
from updater.errors import InputError
from updater.files import write_atomic

_RELAY = Path(__file__).with_name("relay.py")
_CREDENTIAL_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")


def prepare(tree: Path, config: MachineConfig) -> None:
    """Make the files in the machine's folder that are not there yet.

    Raises:
        InputError: the image is missing, no disk image, or larger than the wanted size.
        CommandError: qemu-img failed.
    """
    config.folder.mkdir(parents=True, exist_ok=True)
    if config.image is not None and not config.disk.exists():
        create_overlay(tree, config.image, config.disk, config.disk_size)
    if config.kernel is None and not config.variables.exists():
        partial = config.variables.with_suffix(".partial")
        convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2"]
        Sandbox(tree, writable=(config.folder,)).run(
            [*convert, str(FIRMWARE_VARIABLES), str(partial)]
        )
        partial.rename(config.variables)
    for name, value in config.credentials.items():
        write_atomic(config.credential(name), credential_string(name, value), mode=0o600)
    if any(isinstance(each, UserNetwork) and each.metadata for each in config.networks):
        write_atomic(config.relay, _RELAY.read_bytes())


def create_overlay(tree: Path, image: Path, overlay: Path, size: int | None = None) -> None:
    """Make a qcow2 file that shows `image`, grown to `size` bytes, and takes the writes.

    Raises:
        InputError: the image is missing, no disk image, or larger than `size`.
        CommandError: qemu-img failed.
    """
    if not image.is_file():
        raise InputError(f"{image}: no such image; build one with `bedplate build`")
    image = image.resolve()
    tools = Sandbox(tree, writable=(overlay.parent,), readable=(image,))
    kind = image_format(image)
    if size is not None:
        details = json.loads(tools.run(["qemu-img", "info", "--output=json", str(image)]))
        smallest = int(details["virtual-size"])
        if size < smallest:
            raise InputError(f"{image} has {smallest} bytes; a disk of {size} cannot hold it")
    partial = overlay.with_suffix(".partial")
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", kind]
    tools.run([*create, str(partial), *([] if size is None else [str(size)])])
    partial.rename(overlay)


def image_format(image: Path) -> str:
    """`qcow2` or `raw`, by the file's first bytes (qcow2: docs/interop/qcow2)."""
    with image.open("rb") as stream:
        return "qcow2" if stream.read(4) == b"QFI\xfb" else "raw"


def copy_machine(source: MachineConfig, target: MachineConfig) -> None:
    """Give `target` the disk and the variables of a stopped machine, its saved states included."""
    target.folder.mkdir(parents=True, exist_ok=True)
    for old, new in ((source.disk, target.disk), (source.variables, target.variables)):
        if old.exists():
            shutil.copyfile(old, new)


def credential_string(name: str, value: str | bytes) -> bytes:
    """The SMBIOS OEM string of a credential (systemd.system-credentials(7)).

    Always the base64 kind: it needs no quoting, whatever the credential holds.

    Raises:
        InputError: the name is not one that systemd takes.
    """
    if not _CREDENTIAL_NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name for a credential: letters, digits, dots, - and _")
    data = value.encode() if isinstance(value, str) else value
    return f"io.systemd.credential.binary:{name}=".encode() + base64.b64encode(data)
