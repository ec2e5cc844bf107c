"""Release 1 on a new disk: what grew, what is proved, what is not there to log in with."""

import json
from pathlib import Path

import pytest

from site_of_tests import Guest, keep_figures

_LOGINS = (
    *("sh", "bash", "dash", "busybox", "sshd", "dropbear"),
    *("agetty", "login", "su", "sudo", "sulogin"),
    *("apt", "apt-get", "dpkg", "rpm", "perl"),
)


@pytest.fixture(scope="module", autouse=True)
def fresh(guest: Guest) -> None:
    """Nothing has happened since the host became good, whatever other tests did before."""
    guest.back_to("ready")


def test_the_first_boot_adds_the_second_slot_and_var(guest: Guest) -> None:
    listing = json.loads(
        guest.host.check_output("lsblk --bytes --json -o NAME,SIZE,PARTLABEL /dev/vda")
    )
    parts = [(part["partlabel"], part["size"]) for part in listing["blockdevices"][0]["children"]]
    labels, sizes = zip(*parts, strict=True)
    assert labels == ("esp", "bedplate_1", "bedplate_1", "_empty", "_empty", "bedplate_var")
    assert sizes[1] == sizes[3] == 1 << 30
    assert sizes[2] == sizes[4] == 16 << 20
    # to the end of a 6 GiB disk, but for the table's copy and alignment
    assert sum(sizes) > (6 << 30) - (4 << 20)


def test_var_fills_its_partition(guest: Guest) -> None:
    size, partition = guest.host.check_output(
        "df --block-size=1 --output=size /var | tail -n1; lsblk -bno SIZE /dev/vda6"
    ).split()
    assert int(size) > 0.9 * int(partition)


def test_the_root_is_under_verity_and_read_only(guest: Guest) -> None:
    source, kind, options = guest.host.check_output("findmnt -no SOURCE,FSTYPE,OPTIONS /").split()
    assert (source, kind) == ("/dev/mapper/root", "erofs")
    assert "ro" in options.split(",")
    assert "verified" in guest.host.check_output("veritysetup status root")
    running = guest.status()["root_hash"]
    assert f"roothash={running}" in guest.host.file("/proc/cmdline").content_string


def test_only_var_run_tmp_and_etc_can_be_written(guest: Guest) -> None:
    mounts = guest.host.check_output("findmnt -rno TARGET,FSTYPE,OPTIONS").splitlines()
    writable = set()
    for line in mounts:
        target, kind, options = line.split()[:3]
        if "rw" in options.split(",") and kind in {"ext4", "tmpfs", "overlay", "vfat", "erofs"}:
            writable.add(target)
    below = {path for path in writable if not path.startswith(("/run", "/dev"))}
    assert below == {"/var", "/tmp", "/etc"}  # noqa: S108 - a mount point, no file of ours


def test_the_esp_is_not_mounted(guest: Guest) -> None:
    assert "vfat" not in guest.host.check_output("findmnt -rno FSTYPE")


def test_disks_have_the_links_that_somebody_names_them_by(guest: Guest) -> None:
    """Each link is a unit of systemd's, which each boot has to make (docs/adr/0058)."""
    found = guest.host.check_output("find /dev/disk/by-path -type l -printf '%P %l\\n'")
    links = [line.split() for line in found.splitlines()]
    assert len(links) >= 6  # partitions of vda
    assert len({target for _, target in links}) == len(links)
    assert not [name for name, _ in links if name.startswith("virtio-") or "/by-" in name]
    assert {"esp", "bedplate_1", "bedplate_var"} <= set(
        guest.host.check_output("ls /dev/disk/by-partlabel").split()
    )


def test_there_is_nothing_to_log_in_with(guest: Guest) -> None:
    """Seen from inside, below the developer extension: in the root's own file system."""
    guest.host.check_output(
        "mkdir -p /run/below && mount -t erofs -o ro /dev/mapper/root /run/below"
    )
    try:
        paths = guest.host.check_output("find /run/below -xdev \\( -type f -o -type l \\)")
        setuid = guest.host.check_output("find /run/below -xdev -perm /6000 -type f")
    finally:
        guest.host.check_output("umount /run/below")
    names = {Path(path).name for path in paths.splitlines()}
    assert len(names) > 1000
    assert not names & set(_LOGINS)
    assert not [name for name in names if "getty" in name or name.startswith(("perl", "dpkg"))]
    assert setuid == ""


def test_the_machine_id_comes_from_the_firmware(guest: Guest) -> None:
    expected = guest.machine.config.uuid.hex
    assert guest.host.file("/etc/machine-id").content_string.strip() == expected


def test_the_blessed_entry_has_no_counter(guest: Guest) -> None:
    host = guest.host
    host.check_output("mkdir -p /run/esp && mount -o ro /dev/vda1 /run/esp")
    try:
        assert host.check_output("ls /run/esp/EFI/Linux") == "bedplate_1.efi"
    finally:
        host.check_output("umount /run/esp")


def test_no_unit_failed(guest: Guest) -> None:
    assert guest.host.check_output("systemctl list-units --failed --no-legend") == ""


def test_the_console_shows_the_status_and_no_prompt(guest: Guest) -> None:
    console = guest.machine.console(since=0)
    assert "this host has no login" in console
    assert "login:" not in console


def test_podman_runs_its_own_checks(guest: Guest) -> None:
    assert "crun" in guest.host.check_output("podman info --format '{{.Host.OCIRuntime.Name}}'")


def test_figures_are_kept_for_the_bench(guest: Guest) -> None:
    host = guest.host
    micro = host.check_output(
        "systemctl show boot-complete.target --property=ActiveEnterTimestampMonotonic --value"
    )
    memory = dict(
        line.split(":")
        for line in host.file("/proc/meminfo").content_string.splitlines()
        if line.startswith("Mem")
    )
    total, free = (int(memory[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    assert int(micro) > 0
    keep_figures(boot_seconds=int(micro) / 1e6, memory_bytes=total - free)
