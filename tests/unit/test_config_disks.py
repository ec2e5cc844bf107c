"""What is done to disks: nothing to what holds data, and never anything to the host's own."""

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Desired, MakeFileSystem, Partition, SwapFile
from cloudconfig.disks import Format, MakePartitions, Refuse, describe, plan_disks
from cloudconfig.disks_observe import observe
from cloudconfig.facts import BlockDevice
from cloudconfig.model.storage import Share

GIB = 1 << 30
HALVES = (Share(50), Share(50))
EMPTY = BlockDevice("/dev/vdb", 10 * GIB, probed=True, blank=True, links=("/dev/disk/by-id/b",))
HOST = BlockDevice("/dev/vda", 10 * GIB, kind="gpt", probed=True)
VAR = BlockDevice(
    *("/dev/vda6", 5 * GIB, "ext4", None, None, "/dev/vda", 6, "bedplate_var"), probed=True
)


def child(number: int, size: int = 5 * GIB, kind: str | None = None) -> BlockDevice:
    return BlockDevice(
        f"/dev/vdb{number}", size, kind, parent="/dev/vdb", number=number, probed=True
    )


def partition(*shares: Share, overwrite: bool = False) -> Desired:
    return Desired(partitions=(Partition("/dev/vdb", shares, overwrite),))


def file_system(
    device: str, kind: str = "ext4", label: str = "", *, overwrite: bool = False
) -> Desired:
    return Desired(file_systems=(MakeFileSystem(device, kind, label, overwrite),))


def reason(desired: Desired, *disks: BlockDevice) -> str:
    (change,) = plan_disks(desired, disks)
    assert isinstance(change, Refuse)
    return change.reason


def test_a_blank_disk_is_divided_and_what_is_new_gets_its_file_system() -> None:
    desired = partition(*HALVES) + file_system("/dev/vdb1", label="data")
    assert plan_disks(desired, (HOST, VAR, EMPTY)) == (
        MakePartitions("/dev/vdb", HALVES),
        # New partitions may lie over what a disk held once.
        Format("/dev/vdb1", "ext4", "data", wipe=True),
    )


def test_a_disk_answers_to_all_its_names() -> None:
    desired = Desired(partitions=(Partition("/dev/disk/by-id/b", HALVES),))
    desired += file_system("/dev/disk/by-id/b-part2")
    assert plan_disks(desired, (EMPTY,)) == (
        MakePartitions("/dev/vdb", HALVES),
        Format("/dev/disk/by-id/b-part2", "ext4", wipe=True),
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_as_it_should_be_stays(*, overwrite: bool) -> None:
    divided = (replace(EMPTY, kind="gpt", blank=False), child(1, 5 * GIB - (1 << 20)), child(2))
    assert plan_disks(partition(*HALVES, overwrite=overwrite), divided) == ()
    made = replace(EMPTY, kind="ext4", label="data", in_use=True)
    for label in ("", "data"):
        desired = file_system("/dev/vdb", label=label, overwrite=overwrite)
        assert plan_disks(desired, (made,)) == ()


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        ([replace(EMPTY, kind="ext4", label="db")], "it holds ext4 called db"),
        ([replace(EMPTY, blank=False)], "it holds data of an unknown kind"),
        ([replace(EMPTY, kind="dos"), child(1)], "a partition table (dos) with 1 partitions"),
        ([replace(EMPTY, kind="dos"), child(1), child(2)], "(dos) with 2 partitions"),
        ([replace(EMPTY, kind="gpt"), child(1), child(2, GIB)], "(gpt) with 2 partitions"),
        ([replace(EMPTY, kind="gpt"), child(1), child(2), child(3)], "(gpt) with 3 partitions"),
    ],
)
def test_what_holds_data_is_only_divided_when_told(disks: list[BlockDevice], words: str) -> None:
    assert words in reason(partition(*HALVES), *disks)
    told = plan_disks(partition(*HALVES, overwrite=True), tuple(disks))
    assert told == (MakePartitions("/dev/vdb", HALVES, wipe=True),)


@pytest.mark.parametrize(
    "found",
    [
        replace(EMPTY, kind="xfs"),
        replace(EMPTY, kind="ext4", label="other"),
        replace(EMPTY, blank=False),
    ],
)
def test_what_holds_data_is_only_formatted_when_told(found: BlockDevice) -> None:
    assert "it holds" in reason(file_system("/dev/vdb", label="data"), found)
    told = plan_disks(file_system("/dev/vdb", label="data", overwrite=True), (found,))
    assert told == (Format("/dev/vdb", "ext4", "data", wipe=True),)


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        ([], "there is no such device"),
        ([replace(EMPTY, in_use=True)], "/dev/vdb is in use"),
        ([replace(EMPTY, kind="gpt"), replace(child(1), in_use=True)], "/dev/vdb1 is in use"),
        ([replace(EMPTY, probed=False)], "udev has not looked at it yet"),
        ([replace(EMPTY, read_only=True)], "it is read-only"),
        ([replace(EMPTY, size=20 << 20)], "50 percent of it is less than the 12 MiB"),
        ([replace(EMPTY, parent="/dev/vdx")], "it is a partition of /dev/vdx"),
        ([EMPTY, replace(child(1), partition_label="bedplate_7")], "the host runs from this disk"),
    ],
)
def test_overwrite_does_not_overcome_everything(disks: list[BlockDevice], words: str) -> None:
    assert words in reason(partition(*HALVES, overwrite=True), *disks)


def test_a_file_system_never_replaces_a_partition_table() -> None:
    disks = (replace(EMPTY, kind="gpt"), child(1))
    desired = file_system("/dev/vdb", overwrite=True)
    assert "it has partitions; name one" in reason(desired, *disks)


def test_a_refused_disk_does_not_count_as_divided() -> None:
    desired = partition(*HALVES) + file_system("/dev/vdb1")
    disks = (replace(EMPTY, kind="dos"), child(1, kind="xfs"))
    assert [type(change) for change in plan_disks(desired, disks)] == [Refuse, Refuse]


@pytest.mark.parametrize("device", ["/dev/vda", "/dev/vda1", "/dev/vda6"])
def test_the_hosts_own_disk_is_never_touched(device: str) -> None:
    spare = BlockDevice("/dev/vda1", GIB, parent="/dev/vda", number=1, probed=True, blank=True)
    desired = Desired(
        partitions=(Partition(device, HALVES, overwrite=True),),
        file_systems=(MakeFileSystem(device, "ext4", overwrite=True),),
    )
    changes = plan_disks(desired, (HOST, spare, VAR))
    assert changes == (Refuse(device, "the host runs from this disk"),) * 2


DEVICES = st.builds(
    replace,
    st.just(EMPTY),
    kind=st.sampled_from([None, "ext4", "gpt", "crypto_LUKS"]),
    probed=st.booleans(),
    blank=st.booleans(),
    in_use=st.booleans(),
    read_only=st.booleans(),
)


@given(
    disk=DEVICES,
    children=st.lists(st.sampled_from([child(1), child(2), VAR]), unique=True),
    overwrite=st.booleans(),
)
def test_nothing_that_may_hold_data_changes_unasked(
    *, disk: BlockDevice, children: list[BlockDevice], overwrite: bool
) -> None:
    desired = partition(*HALVES, overwrite=overwrite)
    desired += file_system("/dev/vdb", "swap", overwrite=overwrite)
    touched = [
        change
        for change in plan_disks(desired, (disk, *children))
        if not isinstance(change, Refuse)
    ]
    safe = disk.blank and disk.kind is None and not [each for each in children if each != VAR]
    assert not touched or (overwrite or safe)
    assert not touched or (disk.probed and not disk.in_use and not disk.read_only)


def test_swap_comes_last_and_every_change_can_be_told() -> None:
    desired = (
        Desired(swap=SwapFile(PurePosixPath("/var/swap"), GIB))
        + file_system("/dev/vdz", overwrite=True)
        + partition(*HALVES)
        + file_system("/dev/vdb2", label="x")
    )
    assert [describe(change) for change in plan_disks(desired, (EMPTY,))] == [
        "partition /dev/vdb: 50 %, 50 %",
        "leave /dev/vdz alone: there is no such device",
        "make ext4 labelled x on /dev/vdb2; all that is on it goes",
        "keep a swap file of 1073741824 bytes at /var/swap",
    ]


# --- what is seen ---------------------------------------------------------------------------------


def device(root: Path, path: str, number: str, size: int, udev: str | None, **files: str) -> None:
    node = root / "sys/devices" / path
    node.mkdir(parents=True)
    for name, text in {"size": str(size // 512), "dev": number, "ro": "0", **files}.items():
        (node / name).write_text(f"{text}\n")
    (node / "holders").mkdir()
    folder = root / "sys/class/block"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / node.name).symlink_to(node)
    if udev is not None:
        data = root / "run/udev/data"
        data.mkdir(parents=True, exist_ok=True)
        (data / f"b{number}").write_text(udev)


def contents(root: Path, name: str, size: int, *written: tuple[int, bytes]) -> None:
    (root / "dev").mkdir(exist_ok=True)
    with (root / "dev" / name).open("wb") as stream:
        stream.truncate(size)
        for at, data in written:
            stream.seek(at)
            stream.write(data)


def test_disks_are_seen_through_sysfs_and_udev(tmp_path: Path) -> None:
    size = 8 << 20
    table = "I:1\nE:ID_PART_TABLE_TYPE=gpt\nS:disk/by-id/one\nS:disk/by-path/two\n"
    device(tmp_path, "pci/vdb", "254:16", size, table)
    partition_data = (
        "I:2\nE:ID_PART_TABLE_TYPE=gpt\nE:ID_FS_TYPE=ext4\nE:ID_FS_LABEL=my_data\n"
        "E:ID_FS_LABEL_ENC=my\\x20data\\xc3\\xbc\nE:ID_FS_UUID=a-b\nE:ID_PART_ENTRY_NAME=p\\x2f\n"
    )
    device(tmp_path, "pci/vdb/vdb1", "254:17", size // 2, partition_data, partition="1")
    device(tmp_path, "pci/vdb/vdb2", "254:18", size // 4, table, partition="2")
    contents(tmp_path, "vdb2", size // 4)
    assert observe(tmp_path, settle=False) == (
        BlockDevice(
            "/dev/vdb",
            size,
            "gpt",
            links=("/dev/disk/by-id/one", "/dev/disk/by-path/two"),
            probed=True,
        ),
        BlockDevice(
            *("/dev/vdb1", size // 2, "ext4", "my dataü", "a-b", "/dev/vdb", 1, "p/"),
            probed=True,
        ),
        # The table is the disk's, which udev tells its partitions of, too.
        BlockDevice(
            *("/dev/vdb2", size // 4, None, None, None, "/dev/vdb", 2),
            links=("/dev/disk/by-id/one", "/dev/disk/by-path/two"),
            probed=True,
            blank=True,
        ),
    )


@pytest.mark.parametrize(
    ("written", "blank"),
    [
        ((), True),
        (((0, b"x"),), False),
        (((1 << 19, b"x"),), False),
        ((((8 << 20) - 1, b"x"),), False),
        # Beyond what is looked at.
        (((4 << 20, b"x"),), True),
    ],
)
def test_a_disk_is_blank_if_both_its_ends_are(
    tmp_path: Path, written: tuple[tuple[int, bytes], ...], *, blank: bool
) -> None:
    device(tmp_path, "vdb", "254:16", 8 << 20, "I:1\n")
    contents(tmp_path, "vdb", 8 << 20, *written)
    (found,) = observe(tmp_path, settle=False)
    assert (found.kind, found.blank) == (None, blank)


@pytest.mark.parametrize("udev", [None, "E:ID_FS_TYPE=ext4\n"])
def test_what_udev_has_not_finished_with_is_not_blank(tmp_path: Path, udev: str | None) -> None:
    device(tmp_path, "vdb", "254:16", 8 << 20, udev)
    contents(tmp_path, "vdb", 8 << 20)
    (found,) = observe(tmp_path, settle=False)
    assert not found.probed
    assert not found.blank


def test_a_disk_that_cannot_be_read_or_is_shorter_is_not_blank(tmp_path: Path) -> None:
    device(tmp_path, "vdb", "254:16", 8 << 20, "I:1\n")
    device(tmp_path, "vdc", "254:32", 8 << 20, "I:1\n")
    contents(tmp_path, "vdc", 1 << 20)
    assert [each.blank for each in observe(tmp_path, settle=False)] == [False, False]


def test_several_signatures_are_data(tmp_path: Path) -> None:
    device(tmp_path, "vdb", "254:16", 8 << 20, "I:1\nE:ID_FS_AMBIVALENT=filesystem:ext4 a:b\n")
    contents(tmp_path, "vdb", 8 << 20)
    (found,) = observe(tmp_path, settle=False)
    assert found.kind
    assert not found.blank


def test_what_is_mounted_swapped_on_or_stacked_is_in_use(tmp_path: Path) -> None:
    for at, name in enumerate(("vdb", "vdc", "vdd", "vde", "loop0", "sr0")):
        device(tmp_path, name, f"254:{at}", 8 << 20, "I:1\n")
    device(tmp_path, "vdf", "254:9", 0, "I:1\n")  # no disk is in it
    (tmp_path / "proc/self").mkdir(parents=True)
    mounts = "22 1 254:0 / /var/x rw - ext4 /dev/vdb rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(mounts)
    swaps = "Filename Type Size Used Priority\n/dev/vdc partition 1 0 -2\n/var/s file 1 0 -3\n"
    (tmp_path / "proc/swaps").write_text(swaps)
    (tmp_path / "sys/devices/vdd/holders/dm-0").mkdir()
    assert [(each.path, each.in_use) for each in observe(tmp_path, settle=False)] == [
        ("/dev/vdb", True),
        ("/dev/vdc", True),
        ("/dev/vdd", True),
        ("/dev/vde", False),
    ]


def test_a_machine_without_disks_has_none(tmp_path: Path) -> None:
    assert observe(tmp_path, settle=False) == ()
