import base64
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest

from builder.vm.config import (
    MIB,
    Accelerator,
    DirectKernel,
    Disk,
    Forward,
    MachineConfig,
    SharedLink,
    UserNetwork,
    arguments,
    mac_address,
)
from builder.vm.disks import credential_string
from updater.errors import InputError

MONITOR = Path("/tmp/short/qmp")  # noqa: S108 - never made
CONFIG = MachineConfig(
    folder=Path("/work/vm"), accelerator=Accelerator.TCG, image=Path("/build/bedplate.raw")
)


def values(config: MachineConfig, option: str) -> list[str]:
    argv = arguments(config, MONITOR)
    return [argv[place + 1] for place, word in enumerate(argv) if word == option]


def test_only_the_overlay_and_the_variables_are_written() -> None:
    drives = values(CONFIG, "-drive")
    assert [drive for drive in drives if "readonly=on" not in drive] == [
        "if=pflash,unit=1,format=qcow2,file=/work/vm/variables.qcow2",
        "if=none,id=system,format=qcow2,discard=unmap,file=/work/vm/disk.qcow2",
    ]
    assert not any("bedplate.raw" in word for word in arguments(CONFIG, MONITOR))


def test_the_firmware_boots_the_system_disk_first() -> None:
    assert "virtio-blk-pci,drive=system,serial=system,bootindex=0" in values(CONFIG, "-device")


@pytest.mark.parametrize(
    ("accelerator", "option"), [(Accelerator.KVM, "kvm"), (Accelerator.TCG, "tcg,thread=multi")]
)
def test_one_accelerator_without_a_fallback(accelerator: Accelerator, option: str) -> None:
    assert values(replace(CONFIG, accelerator=accelerator), "-accel") == [option]


def test_a_direct_kernel_needs_no_firmware_and_no_boot_order() -> None:
    kernel = DirectKernel(Path("/k/vmlinuz"), Path("/k/initrd"), "console=ttyS0 panic=-1")
    config = replace(CONFIG, kernel=kernel)
    assert values(config, "-kernel") == ["/k/vmlinuz"]
    assert values(config, "-initrd") == ["/k/initrd"]
    assert values(config, "-append") == ["console=ttyS0 panic=-1"]
    assert not any("pflash" in drive for drive in values(config, "-drive"))
    assert not any("bootindex" in device for device in values(config, "-device"))


def test_memory_is_given_in_mebibytes_and_cpus_as_they_are() -> None:
    config = replace(CONFIG, memory=768 * MIB, cpus=1)
    assert (values(config, "-m"), values(config, "-smp")) == (["768M"], ["1"])


def test_the_kernel_chooses_the_port_for_ssh() -> None:
    assert values(CONFIG, "-netdev") == ["user,id=net0,hostfwd=tcp:127.0.0.1:0-:22"]


def test_several_networks_are_several_cards_with_addresses_of_their_own() -> None:
    config = replace(CONFIG, networks=(UserNetwork((Forward(80, 8080),)), SharedLink(4000)))
    assert values(config, "-netdev") == [
        "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80",
        "socket,id=net1,mcast=230.0.0.1:4000,localaddr=127.0.0.1",
    ]
    cards = [device for device in values(config, "-device") if "virtio-net" in device]
    assert len({re.findall("mac=([^,]+)", card)[0] for card in cards}) == 2


def test_no_network_means_no_card() -> None:
    config = replace(CONFIG, networks=())
    assert values(config, "-nic") == ["none"]
    assert not any("virtio-net" in device for device in values(config, "-device"))


def test_a_mac_address_is_local_and_unicast() -> None:
    first = int(mac_address(UUID(int=1), 0)[:2], 16)
    assert (first & 1, first & 2) == (0, 2)
    assert mac_address(UUID(int=1), 0) != mac_address(UUID(int=2), 0)


@pytest.mark.parametrize("year", [1998, 2097])
def test_the_clock_starts_where_it_is_told(year: int) -> None:
    clock = datetime(year, 1, 2, 3, 4, 5)  # noqa: DTZ001 - what a hardware clock shows
    config = replace(CONFIG, clock=clock)
    assert values(config, "-rtc") == [f"base={year}-01-02T03:04:05"]


@pytest.mark.parametrize("year", [1970, 1997, 2098, 2100])
def test_a_year_that_the_firmware_would_change_is_refused(year: int) -> None:
    config = replace(CONFIG, clock=datetime(year, 1, 1))  # noqa: DTZ001 - as above
    with pytest.raises(InputError, match=str(year)):
        arguments(config, MONITOR)
    direct = replace(config, kernel=DirectKernel(Path("/k/vmlinuz")))
    assert values(direct, "-rtc") == [f"base={year}-01-01T00:00:00"]


def test_further_disks_keep_their_format_and_order() -> None:
    config = replace(
        CONFIG, disks=(Disk(Path("/d/a.raw"), read_only=True), Disk(Path("/d/b.qcow2")))
    )
    assert values(config, "-drive")[-2:] == [
        "if=none,id=disk1,format=raw,discard=unmap,readonly=on,file=/d/a.raw",
        "if=none,id=disk2,format=qcow2,discard=unmap,file=/d/b.qcow2",
    ]


def test_commas_in_paths_do_not_end_an_option() -> None:
    config = replace(CONFIG, folder=Path("/a,b"), credentials={"x": "y"})
    assert values(config, "-drive")[-1].endswith("file=/a,,b/disk.qcow2")
    assert values(config, "-smbios")[-1] == "type=11,path=/a,,b/credential.x"
    assert all("/a,b" not in word for word in arguments(config, MONITOR))


def test_credentials_reach_no_command_line() -> None:
    config = replace(CONFIG, credentials={"bedplate.update": "secret"})
    assert not any("secret" in word for word in arguments(config, MONITOR))
    assert "type=11,path=/work/vm/credential.bedplate.update" in values(config, "-smbios")


def test_a_credential_is_one_oem_string_whatever_it_holds() -> None:
    value = b"a: 1\n\0,\xff"
    name, _, encoded = credential_string("some.name", value).partition(b"=")
    assert name == b"io.systemd.credential.binary:some.name"
    assert base64.b64decode(encoded, validate=True) == value


@pytest.mark.parametrize("name", ["", "a/b", "a=b", "..", "a b", "a\n"])
def test_a_credential_with_an_unfit_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="credential"):
        credential_string(name, "x")


def test_a_machine_ends_instead_of_rebooting_on_demand() -> None:
    assert "-no-reboot" not in arguments(CONFIG, MONITOR)
    assert "-no-reboot" in arguments(replace(CONFIG, reboots=False), MONITOR)


def test_a_start_from_a_snapshot_names_it() -> None:
    assert arguments(CONFIG, MONITOR, "booted")[-2:] == ["-loadvm", "booted"]


def test_a_hung_guest_is_reset_by_its_watchdog() -> None:
    assert "i6300esb" in values(CONFIG, "-device")
    assert values(CONFIG, "-action") == ["watchdog=reset"]
