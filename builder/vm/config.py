"""What a virtual machine is made of, and the QEMU command line that makes it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from uuid import UUID

from updater.errors import InputError

FIRMWARE_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")  # in the tool tree
FIRMWARE_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
DEFAULT_UUID = UUID("b3d91a7e-4c52-4f0e-9d3a-6f2d5c8e1a01")
# OVMF reads other years as the same two digits within these (PcdMinimalValidYear in edk2).
FIRMWARE_YEARS = range(1998, 2098)
MIB = 1 << 20


class Accelerator(StrEnum):
    """What runs the guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True)
class Forward:
    """A TCP port of the guest, reached at a port of 127.0.0.1.

    Attributes:
        guest: the guest's port.
        host: the loopback port, or 0 for a free one, chosen by the kernel when QEMU binds.
    """

    guest: int
    host: int = 0


@dataclass(frozen=True, slots=True)
class UserNetwork:
    """QEMU's own NAT: the guest is 10.0.2.15, this machine's loopback is 10.0.2.2 to it.

    Attributes:
        forwards: the guest's ports that are reached from here.
        metadata: a port of this machine's loopback that the guest reaches as 169.254.169.254:80,
            as clouds' metadata servers are. The network is 169.254.169.0/24 then.
    """

    forwards: tuple[Forward, ...] = (Forward(22),)
    metadata: int | None = None


@dataclass(frozen=True, slots=True)
class SharedLink:
    """An Ethernet segment for several machines, multicast over this machine's loopback.

    Attributes:
        port: the UDP port that makes this segment one of its own.
    """

    port: int


Network = UserNetwork | SharedLink


@dataclass(frozen=True, slots=True)
class Disk:
    """A further disk, in raw format or, when it is named *.qcow2, in qcow2.

    A machine that is to be saved by `Machine.save` takes qcow2 or read-only disks only.
    """

    path: Path
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """A kernel that QEMU loads itself, without UEFI."""

    kernel: Path
    initrd: Path | None = None
    command_line: str = ""


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """One virtual machine.

    Attributes:
        folder: the machine's own files: its disk, firmware variables, logs.
        image: the built disk image it boots; only read, writes go to an overlay in `folder`.
        kernel: boot this directly instead of through UEFI.
        disk_size: bytes the disk is grown to; the image's size when None.
        memory: bytes.
        cpus: virtual processors.
        uuid: the SMBIOS system UUID, from which the guest takes its machine id.
        credentials: systemd credentials by name, handed over by SMBIOS (systemd.exec(5)).
        networks: network cards in order; empty for none.
        disks: further disks, in order after the system's.
        firmware: what the firmware says of the machine: fields of SMBIOS type 1 by QEMU's names,
            such as manufacturer.
        fw_cfg: files by the names under which QEMU hands them over, such as opt/org.example/x.
        parameters: what the boot loader adds to the kernel's command line, by SMBIOS
            (systemd-stub(7), io.systemd.stub.kernel-cmdline-extra).
        clock: what the hardware clock shows at the start; this machine's time when None. Under
            UEFI its year is within `FIRMWARE_YEARS`.
        reboots: False makes QEMU end where the guest would reboot.
    """

    folder: Path
    accelerator: Accelerator
    image: Path | None = None
    kernel: DirectKernel | None = None
    disk_size: int | None = None
    memory: int = 1024 * MIB
    cpus: int = 2
    uuid: UUID = DEFAULT_UUID
    credentials: Mapping[str, str | bytes] = field(default_factory=dict)
    networks: tuple[Network, ...] = (UserNetwork(),)
    disks: tuple[Disk, ...] = ()
    firmware: Mapping[str, str] = field(default_factory=dict)
    fw_cfg: Mapping[str, Path] = field(default_factory=dict)
    parameters: str = ""
    clock: datetime | None = None
    reboots: bool = True

    @property
    def disk(self) -> Path:
        """The overlay that holds what the guest writes."""
        return self.folder / "disk.qcow2"

    @property
    def variables(self) -> Path:
        """The firmware's variables; qcow2, since `savevm` keeps its state in such files only."""
        return self.folder / "variables.qcow2"

    @property
    def console(self) -> Path:
        """What the guest wrote to its serial port since the folder was made."""
        return self.folder / "console.log"

    @property
    def log(self) -> Path:
        """What QEMU itself said."""
        return self.folder / "qemu.log"

    @property
    def relay(self) -> Path:
        """The program that carries what the guest says to 169.254.169.254."""
        return self.folder / "relay.py"

    def credential(self, name: str) -> Path:
        """The file by which a credential reaches QEMU."""
        return self.folder / f"credential.{name}"


def arguments(config: MachineConfig, monitor: Path, snapshot: str | None = None) -> list[str]:
    """The command line of a machine; pure.

    Args:
        config: the machine.
        monitor: where QEMU shall listen for QMP (a path of at most 107 bytes, unix(7)).
        snapshot: start from this one, made by `savevm`, instead of from the reset vector.

    Raises:
        InputError: the firmware cannot hold the clock's year.
    """
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"),
        # Without controllers that nobody uses: a guest would look at each.
        *("-machine", "q35,sata=off,smbus=off,i8042=off"),
        *accelerator_options(config.accelerator),
        *("-smp", str(config.cpus), "-m", f"{config.memory // MIB}M"),
        *("-object", "rng-builtin,id=rng", "-device", "virtio-rng-pci,rng=rng"),
        *("-device", "i6300esb", "-action", "watchdog=reset"),
        *("-chardev", f"file,id=console,append=on,path={_quoted(config.console)}"),
        *("-serial", "chardev:console"),
        *("-chardev", f"socket,id=qmp,server=on,wait=off,path={_quoted(monitor)}"),
        *("-mon", "chardev=qmp,mode=control"),
        *_clock(config),
        *_boot(config),
        *_disks(config),
        *_networks(config),
        *_smbios(config),
        *(() if config.reboots else ("-no-reboot",)),
        *(("-loadvm", snapshot) if snapshot else ()),
    ]


def accelerator_options(accelerator: Accelerator) -> tuple[str, ...]:
    """How QEMU runs the guest's instructions."""
    if accelerator is Accelerator.KVM:
        return ("-accel", "kvm", "-cpu", "max")
    # A kernel that sees these two fills and copies pages byte by byte, which costs an emulated
    # processor a tenth of a boot.
    return ("-accel", "tcg,thread=multi", "-cpu", "max,-erms,-fsrm")


def mac_address(uuid: UUID, card: int) -> str:
    """A locally administered address, the same for the same machine and card."""
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, *uuid.bytes[-3:], card))


def _quoted(value: object) -> str:
    """A value inside a QEMU option list, where a comma is written twice."""
    return str(value).replace(",", ",,")


def _clock(config: MachineConfig) -> Sequence[str]:
    start = config.clock
    if start is None:
        return ("-rtc", "base=utc")
    if config.kernel is None and start.year not in FIRMWARE_YEARS:
        raise InputError(
            f"a clock in {start.year}: OVMF keeps two digits of the year and would make it one of "
            f"{FIRMWARE_YEARS.start} to {FIRMWARE_YEARS.stop - 1}; take one of these"
        )
    return ("-rtc", f"base={start:%Y-%m-%dT%H:%M:%S}")


def _boot(config: MachineConfig) -> Iterable[str]:
    if config.kernel is None:
        yield from ("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE_CODE}")
        yield from ("-drive", f"if=pflash,unit=1,format=qcow2,file={_quoted(config.variables)}")
        return
    yield from ("-kernel", str(config.kernel.kernel), "-append", config.kernel.command_line)
    if config.kernel.initrd is not None:
        yield from ("-initrd", str(config.kernel.initrd))


def _disks(config: MachineConfig) -> Iterable[str]:
    if config.image is not None:
        boot = ",bootindex=0" if config.kernel is None else ""  # -kernel claims that place itself
        yield from _disk("system", "qcow2", config.disk, read_only=False, boot=boot)
    for number, disk in enumerate(config.disks, start=1):
        kind = "qcow2" if disk.path.suffix == ".qcow2" else "raw"
        yield from _disk(f"disk{number}", kind, disk.path, read_only=disk.read_only)


def _disk(name: str, kind: str, path: Path, *, read_only: bool, boot: str = "") -> Sequence[str]:
    options = f"if=none,id={name},format={kind},discard=unmap"
    if read_only:
        options += ",readonly=on"
    return (
        *("-drive", f"{options},file={_quoted(path)}"),
        *("-device", f"virtio-blk-pci,drive={name},serial={name}{boot}"),
    )


def _networks(config: MachineConfig) -> Iterable[str]:
    if not config.networks:
        yield from ("-nic", "none")
    for number, network in enumerate(config.networks):
        mac = mac_address(config.uuid, number)
        match network:
            case UserNetwork(forwards, metadata):
                rules = [f",hostfwd=tcp:127.0.0.1:{one.host}-:{one.guest}" for one in forwards]
                if metadata is not None:
                    relay = _quoted(f"python3 -IS {config.relay} {metadata}")
                    rules += [f",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:{relay}"]
                yield from ("-netdev", f"user,id=net{number}{''.join(rules)}")
            case SharedLink(port):
                yield from (
                    "-netdev",
                    f"socket,id=net{number},mcast=230.0.0.1:{port},localaddr=127.0.0.1",
                )
        # No option ROM: nothing boots from the network, and its probing costs seconds.
        yield from ("-device", f"virtio-net-pci,netdev=net{number},mac={mac},romfile=")


def _smbios(config: MachineConfig) -> Iterable[str]:
    fields = "".join(f",{name}={_quoted(value)}" for name, value in config.firmware.items())
    yield from ("-smbios", f"type=1,uuid={config.uuid}{fields}")
    if config.parameters:
        text = f"io.systemd.stub.kernel-cmdline-extra={config.parameters}"
        yield from ("-smbios", f"type=11,value={_quoted(text)}")
    for name, path in config.fw_cfg.items():
        yield from ("-fw_cfg", f"name={name},file={_quoted(path)}")
    for name in config.credentials:
        yield from ("-smbios", f"type=11,path={_quoted(config.credential(name))}")
