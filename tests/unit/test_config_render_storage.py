"""Mounts, swap and disks: units to the letter, and what is refused with its place."""

import string
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Desired, File, Link, MakeFileSystem, Partition, SwapFile
from cloudconfig.document import Document, read_document
from cloudconfig.facts import Facts
from cloudconfig.model.storage import Share
from cloudconfig.render import storage
from cloudconfig.unitnames import device_node, escape_path, partition_node
from hostkit.document.source import DocumentError

UNITS = "/etc/systemd/system/"
GIB = 1 << 30


def document(body: str) -> Document:
    return read_document(f"#cloud-config\n{body}\n".encode(), Path("c.yaml"))


def rendered(body: str, facts: Facts | None = None) -> Desired:
    return storage.render(document(body).config, facts or Facts())


def files(desired: Desired) -> dict[str, str]:
    return {
        str(item.path).removeprefix(UNITS): item.content.decode()
        for item in desired.items
        if isinstance(item, File)
    }


def links(desired: Desired) -> dict[str, str]:
    return {
        str(item.path).removeprefix(UNITS): item.target
        for item in desired.items
        if isinstance(item, Link)
    }


def refusal(body: str) -> str:
    with pytest.raises(DocumentError) as caught:
        document(body)
    return str(caught.value)


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        # What systemd-escape --path printed for them.
        ("/var/mnt/data", "var-mnt-data"),
        ("/var/mnt/a-b", r"var-mnt-a\x2db"),
        ("/var/mnt/.hid/ü", r"var-mnt-.hid-\xc3\xbc"),
        ("/", "-"),
        ("/.x", r"\x2ex"),
        ("/var//x/", "var-x"),
        (r"/var/a\b", r"var-a\x5cb"),
        ("/var/./x", "var-x"),
        ("/var/a b", r"var-a\x20b"),
    ],
)
def test_paths_are_escaped_as_systemd_does(path: str, name: str) -> None:
    assert escape_path(PurePosixPath(path)) == name


PARTS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=1))
def test_an_escaped_path_is_a_units_name_and_nothing_is_lost(parts: list[str]) -> None:
    escaped = escape_path(PurePosixPath("/" + "/".join(parts)))
    assert set(escaped) <= set(string.ascii_letters + string.digits + ":_.\\-")
    assert not escaped.startswith(".")
    raw = escaped.replace("-", "/").encode("ascii").decode("unicode_escape").encode("latin-1")
    assert raw.decode() == "/".join(parts)


def test_devices_are_named_as_in_fstab() -> None:
    assert device_node("LABEL=my data") == r"/dev/disk/by-label/my\x20data"
    assert device_node("UUID=0A0B-CDEF") == "/dev/disk/by-uuid/0A0B-CDEF"
    uuid = "9B1F7A3E-5F3E-4C55-AE3B-5C2E54E0B0FA"
    assert device_node(f"UUID={uuid}") == f"/dev/disk/by-uuid/{uuid.lower()}"
    assert device_node("PARTLABEL=a+b") == "/dev/disk/by-partlabel/a+b"
    assert device_node("/dev/vdb") == "/dev/vdb"
    assert device_node("server:/export=1") == "server:/export=1"


def test_partitions_are_named_by_their_disk() -> None:
    assert partition_node("/dev/vdb", 1) == "/dev/vdb1"
    assert partition_node("/dev/nvme0n1", 2) == "/dev/nvme0n1p2"
    assert partition_node("/dev/disk/by-id/virtio-1", 3) == "/dev/disk/by-id/virtio-1-part3"


# --- mounts ---------------------------------------------------------------------------------------


def test_a_mount_is_a_unit_that_a_missing_disk_does_no_harm() -> None:
    desired = rendered("mounts:\n- [LABEL=data, /var/mnt/data]")
    assert files(desired) == {
        "var-mnt-data.mount": (
            "[Unit]\n"
            "Description=/var/mnt/data, by the cloud-config\n"
            "\n"
            "[Mount]\n"
            "What=/dev/disk/by-label/data\n"
            "Where=/var/mnt/data\n"
            "Options=nofail\n"
        )
    }
    assert links(desired) == {"local-fs.target.wants/var-mnt-data.mount": "../var-mnt-data.mount"}


def test_all_of_fstabs_options_arrive_where_they_belong() -> None:
    desired = rendered(
        "mounts:\n"
        "- [vdb1, /var/mnt/a-b, ext4, 'defaults,noatime,nofail,x-systemd.requires=web.service,"
        "x-systemd.after=/var/x,x-systemd.before=/run/c,x-systemd.mount-timeout=1m30s,"
        "x-systemd.device-timeout=10,x-systemd.growfs,x-systemd.rw-only,x-systemd.device-bound,"
        "x-systemd.requires-mounts-for=/var/y%', 0, 0]"
    )
    unit = r"var-mnt-a\x2db.mount"
    assert files(desired) == {
        unit: (
            "[Unit]\n"
            "Description=/var/mnt/a-b, by the cloud-config\n"
            "Requires=web.service\n"
            "After=web.service\n"
            "After=var-x.mount\n"
            "Before=run-c.mount\n"
            "RequiresMountsFor=/var/y%%\n"
            "Wants=systemd-growfs@var-mnt-a\\x2db.service\n"
            "\n"
            "[Mount]\n"
            "What=/dev/vdb1\n"
            "Where=/var/mnt/a-b\n"
            "Type=ext4\n"
            "Options=noatime,nofail,x-systemd.device-bound\n"
            "ReadWriteOnly=yes\n"
            "TimeoutSec=90s\n"
        ),
        "dev-vdb1.device.d/50-bedplate.conf": "[Unit]\nJobRunningTimeoutSec=10s\n",
    }


def test_a_mount_that_the_boot_waits_for_is_warned_of() -> None:
    found = document("mounts:\n- [/dev/vdb, /var/x, auto, fail]")
    text = files(storage.render(found.config, Facts()))["var-x.mount"]
    assert "Before=sysinit.target\n" in text
    assert "Options=" not in text
    assert ["RequiresMountsFor" in str(each) for each in found.warnings] == [True]


def test_an_automount_is_what_starts() -> None:
    desired = rendered(
        "mounts:\n"
        "- [/dev/vdb, /var/x, ext4, 'noauto,x-systemd.automount,x-systemd.idle-timeout=60']"
    )
    assert files(desired)["var-x.automount"] == (
        "[Unit]\n"
        "Description=/var/x when it is used, by the cloud-config\n"
        "\n"
        "[Automount]\n"
        "Where=/var/x\n"
        "TimeoutIdleSec=60s\n"
    )
    assert list(links(desired)) == ["local-fs.target.wants/var-x.automount"]


def test_what_is_noauto_is_not_started() -> None:
    assert links(rendered("mounts:\n- [/dev/vdb, /var/x, ext4, noauto]")) == {}


@pytest.mark.parametrize("line", ["[/dev/vdb, /var/x, ext4, _netdev]", "['nas:/x', /var/x, nfs4]"])
def test_what_needs_the_network_belongs_to_remote_fs(line: str) -> None:
    assert links(rendered(f"mounts:\n- {line}")) == {
        "remote-fs.target.wants/var-x.mount": "../var-x.mount",
        "multi-user.target.wants/remote-fs.target": "/usr/lib/systemd/system/remote-fs.target",
    }


def test_swap_in_mounts_is_a_swap_unit() -> None:
    desired = rendered("mounts:\n- [/dev/vdb2, none, swap, 'sw,pri=5', 0, 0]")
    assert files(desired) == {
        "dev-vdb2.swap": (
            "[Unit]\n"
            "Description=Swap on /dev/vdb2, by the cloud-config\n"
            "\n"
            "[Swap]\n"
            "What=/dev/vdb2\n"
            "Options=pri=5,nofail\n"
        )
    }
    assert links(desired) == {"swap.target.wants/dev-vdb2.swap": "../dev-vdb2.swap"}


def test_what_cloud_init_alone_has_is_warned_of() -> None:
    found = document(
        "mounts:\n"
        "- [/dev/vdb, /var/x, auto, 'defaults,nofail,x-systemd.requires=cloud-init.service', 0, 2]"
    )
    assert "cloud-init" not in files(storage.render(found.config, Facts()))["var-x.mount"]
    assert [str(each)[:11] for each in found.warnings] == ["c.yaml:3:3:", "c.yaml:3:28"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[/dev/vdb, /mnt]", "c.yaml:3:14: '/mnt': the root is read-only, so mount points are"),
        ("[/dev/vdb, /mnt]", "write /var/mnt/data"),
        ("[/dev/vdb, /mnt/a/b]", "write /var/mnt/a/b"),
        ("[/dev/vdb, /data]", "write /var/mnt/data"),
        ("[/dev/vdb, /var]", "mount points are below /var"),
        ("[/dev/vdb, /var/../etc]", "is no mount point"),
        ("[/dev/vdb, /var/lib]", "would cover /var/lib/bedplate"),
        ("[/dev/vdb, /run/systemd/x]", "would cover /run/systemd"),
        ("[/dev/vdb, /var/a b]", "is no mount point"),
        (f"[/dev/vdb, /var/{'-' * 70}]", "is too long for the name of a unit"),
        ("[ephemeral0, /var/x]", "name the device itself"),
        ("[ephemeral0, null]", "nothing is mounted unasked here"),
        ("[/dev/vdb]", "expected a list: device, mount point"),
        ("/dev/vdb", "expected a list: device, mount point"),
        ("[vdb!, /var/x]", "expected /dev/..., LABEL=... or UUID=..."),
        ("[/dev/../etc/x, /var/x]", "cannot be mounted"),
        ("[/dev/vdb, /var/x, EXT4]", "is no type of file system"),
        ("[/dev/vdb, /var/x, swap]", "swap has no mount point"),
        ('[/dev/vdb, /var/x, ext4, "a\\nWhat=x"]', "are no mount options"),
        ('[/dev/vdb, /var/x, ext4, "a\\\\"]', "are no mount options"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.makefs]", "file systems are made by fs_setup"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.mount-timeout=soon]", "expected a length of time"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.before=/dev/vdc]", "those wait for nothing"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.after=x]", "expected a unit's name or a path"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.automount=1]", "expected no value"),
        ("[/dev/vdb, /var/x, ext4, x-systemd.frob]", "known after x-systemd. are"),
        ("[/dev/vdb, /var/x, ext4, x-initrd.mount]", "is for the initrd"),
    ],
)
def test_a_mount_that_cannot_be_is_refused_with_the_way(line: str, message: str) -> None:
    assert message in refusal(f"mounts:\n- {line}")


def test_two_mounts_on_one_point_are_one_too_many() -> None:
    found = refusal("mounts:\n- [/dev/vdb, /var/x]\n- [/dev/vdc, /var/x/]")
    assert found == "c.yaml:4:3: /var/x is mounted twice"


def test_a_type_that_the_image_lacks_is_warned_of() -> None:
    found = document("mounts:\n- ['nas:/x', /var/x, nfs4]")
    (warning,) = found.warnings
    assert str(warning).startswith("c.yaml:3:22: the image cannot mount nfs4 by itself")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_no_field_adds_a_line_to_a_unit(source: str, where: str, kind: str, options: str) -> None:
    fields = (f"/dev/{source}", f"/var/{where}", kind, options)
    quoted = ", ".join("'" + field.replace("'", "''") + "'" for field in fields)
    try:
        desired = rendered(f"mounts: [[{quoted}]]")
    except DocumentError:
        return
    known = ("[", "Description=", "What=", "Where=", "Type=", "Options=")
    for text in files(desired).values():
        assert all(line.startswith(known) or not line for line in text.split("\n"))
        assert not set("\\\r\0") & set(text)


# --- swap -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "memory", "size"),
    [
        ("{size: 2G}", 0, 2 * GIB),
        ("{size: 512 MiB}", 0, GIB // 2),
        ("{size: 1048577}", 0, 1 << 20),
        ("{size: auto}", 2 * GIB, 2 * GIB),
        ("{}", 64 * GIB, 8 * GIB),
        ("{maxsize: 1G}", 2 * GIB, GIB),
        ("{size: auto, maxsize: 4G}", 2 * GIB, 2 * GIB),
        ("{}", 0, 8 * GIB),
    ],
)
def test_a_swap_file_is_as_large_as_the_document_says(body: str, memory: int, size: int) -> None:
    desired = rendered(f"swap: {body}", Facts(memory=memory))
    assert desired.swap == SwapFile(PurePosixPath("/var/swapfile"), size)
    assert files(desired)["var-swapfile.swap"].endswith("What=/var/swapfile\nOptions=nofail\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{filename: /swap.img}", "is not an absolute path below /var"),
        ("{filename: /var/../etc/x}", "is not an absolute path below /var"),
        ("{filename: /var/lib/bedplate/x}", "is not an absolute path below /var"),
        ("{size: 4k}", "is not a size such as 2G"),
        ("{size: 4096}", "is not a size such as 2G"),
        ("{size: 9999999999T}", "is not a size such as 2G"),
        ("{maxsize: auto}", "is not a size such as 2G"),
        ("{size: 1G, maxsize: 2G}", "it limits `size: auto` alone"),
    ],
)
def test_swap_that_cannot_be_is_refused(body: str, message: str) -> None:
    assert message in refusal(f"swap: {body}")


# --- disks ----------------------------------------------------------------------------------------


def test_disks_and_file_systems_are_wanted_by_their_devices() -> None:
    desired = rendered(
        "disk_setup:\n"
        "  /dev/vdb: {table_type: gpt, layout: [50, 50], overwrite: true}\n"
        "  /dev/nvme1n1: {layout: true}\n"
        "  /dev/vdd: {layout: [[30, 82], 60]}\n"
        "  /dev/vde: {layout: false}\n"
        "fs_setup:\n"
        "- {device: /dev/vdb, partition: 2, label: data}\n"
        "- {device: /dev/nvme1n1, partition: auto, overwrite: true}\n"
        "- {device: /dev/vdc, partition: any, filesystem: swap}\n"
        "- {device: /dev/vdf1}\n"
    )
    assert desired.partitions == (
        Partition("/dev/vdb", (Share(50), Share(50)), overwrite=True),
        Partition("/dev/nvme1n1", (Share(100),)),
        Partition("/dev/vdd", (Share(30, swap=True), Share(60))),
    )
    assert desired.file_systems == (
        MakeFileSystem("/dev/vdb2", "ext4", "data"),
        MakeFileSystem("/dev/nvme1n1p1", "ext4", overwrite=True),
        MakeFileSystem("/dev/vdc", "swap"),
        MakeFileSystem("/dev/vdf1", "ext4"),
        # By its type; fs_setup says nothing of it.
        MakeFileSystem("/dev/vdd1", "swap"),
    )


def test_what_fs_setup_says_of_a_swap_partition_counts() -> None:
    desired = rendered(
        "disk_setup: {/dev/vdd: {layout: [[30, swap], 60], overwrite: true}}\n"
        "fs_setup: [{device: /dev/vdd, partition: 1, filesystem: swap, label: s}]"
    )
    assert desired.file_systems == (MakeFileSystem("/dev/vdd1", "swap", "s"),)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("disk_setup: {/dev/vdb: {table_type: mbr}}", "is not gpt, the only kind"),
        ("disk_setup: {/dev/vdb: {layout: remove}}", "remove would only destroy"),
        ("disk_setup: {/dev/vdb: {layout: [60, 50]}}", "the partitions are 110 percent"),
        ("disk_setup: {/dev/vdb: {layout: [0]}}", "0 is not a percentage"),
        ("disk_setup: {/dev/vdb: {layout: []}}", "0 partitions; expected 1 to 64"),
        ("disk_setup: {/dev/vdb: {layout: [[50, 82, 1]]}}", "expected a percentage such as 50"),
        ("disk_setup: {/dev/vdb: {layout: [[50, 99]]}}", "the type '99' is not known"),
        ("disk_setup: {/dev/vdb: {layout: maybe}}", "is no layout"),
        ("disk_setup: {/dev/../vdb: {}}", "is no key here"),
        ("disk_setup: {ephemeral0: {}}", "is no key here"),
        ("fs_setup: [{device: LABEL=x}]", "is not a device such as /dev/vdb"),
        ("fs_setup: [{device: /dev/vdb, filesystem: btrfs}]", "is not one of ext4, swap"),
        ("fs_setup: [{device: /dev/vdb, label: seventeen-letters}]", "is not a label"),
        ("fs_setup: [{device: /dev/vdb, partition: 0}]", "is not auto, any, none or a number"),
        ("fs_setup: [{device: /dev/vdb, cmd: x}]", "mkfs.ext4"),
    ],
)
def test_disks_that_cannot_be_are_refused(body: str, message: str) -> None:
    assert message in refusal(body)


@pytest.mark.parametrize(
    ("partition", "message"),
    [("none", "name a partition of it"), ("3", "has no partition 3; disk_setup makes 2 of them")],
)
def test_a_file_system_on_a_divided_disk_names_its_partition(partition: str, message: str) -> None:
    assert message in refusal(
        "disk_setup: {/dev/vdb: {layout: [50, 50]}}\n"
        f"fs_setup: [{{device: /dev/vdb, partition: {partition}}}]"
    )
