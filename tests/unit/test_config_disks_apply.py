"""The command lines that make disks what they should be, and when none is run."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from cloudconfig.desired import SwapFile
from cloudconfig.disks import DiskChange, Format, MakePartitions, Refuse
from cloudconfig.disks_apply import DiskApplier, outstanding
from cloudconfig.model.storage import Share
from updater.programs import ProgramError

SIZE = 4 << 20


class Programs:
    """Stands in for the image's programs: notes what is run, and what lay in a folder then."""

    def __init__(self, *, fails: str = "") -> None:
        self.ran: list[tuple[str, ...]] = []
        self.definitions: dict[str, str] = {}
        self.fails = fails

    def __call__(self, argv: Sequence[str], *, time_out: float = 60) -> str:
        assert time_out > 0
        self.ran.append(tuple(argv))
        if argv[0] == self.fails:
            raise ProgramError(f"`{argv[0]}` ended with 1")
        for word in argv:
            if word.startswith("--definitions="):
                folder = Path(word.partition("=")[2])
                self.definitions = {file.name: file.read_text() for file in folder.iterdir()}
        if argv[0] == "mkswap":
            with Path(argv[-1]).open("r+b") as stream:
                stream.seek(4086)
                stream.write(b"SWAPSPACE2")
        return ""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    for name in ("vdb", "vdb1"):
        with (tmp_path / "dev" / name).open("wb") as stream:
            stream.truncate(SIZE)
    return tmp_path


def apply(root: Path, programs: Programs, *changes: DiskChange) -> list[str]:
    return DiskApplier(root, programs).apply(changes)


@pytest.mark.parametrize(("wipe", "empty"), [(False, "require"), (True, "force")])
def test_a_disk_is_divided_by_definitions(root: Path, empty: str, *, wipe: bool) -> None:
    programs = Programs()
    shares = (Share(30, swap=True), Share(60))
    assert apply(root, programs, MakePartitions("/dev/vdb", shares, wipe=wipe)) == []
    repart, settle = programs.ran
    assert repart[:3] == ("systemd-repart", "--dry-run=no", f"--empty={empty}")
    assert repart[4:] == ("--seed=random", "/dev/vdb")
    assert settle[:2] == ("udevadm", "settle")
    assert programs.definitions == {
        "01.conf": "[Partition]\nType=linux-generic\nWeight=300\n",
        "02.conf": "[Partition]\nType=linux-generic\nWeight=600\nPaddingWeight=100\n",
    }
    assert list((root / "run/bedplate").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "argv"),
    [
        (Format("/dev/vdb", "ext4"), ("mkfs.ext4", "-q", "/dev/vdb")),
        (
            Format("/dev/vdb", "ext4", "data", wipe=True),
            ("mkfs.ext4", "-q", "-F", "-L", "data", "/dev/vdb"),
        ),
        (Format("/dev/vdb", "swap", "s"), ("mkswap", "-L", "s", "/dev/vdb")),
        (Format("/dev/vdb", "swap", wipe=True), ("mkswap", "-f", "/dev/vdb")),
    ],
)
def test_file_systems_have_their_programs(
    root: Path, change: Format, argv: tuple[str, ...]
) -> None:
    programs = Programs(fails="mkswap")
    apply(root, programs, change)
    assert programs.ran == [argv]


@pytest.mark.parametrize("at", [0, SIZE - 1])
@pytest.mark.parametrize(
    "change", [MakePartitions("/dev/vdb", (Share(100),)), Format("/dev/vdb", "ext4")]
)
def test_a_disk_that_is_blank_no_more_is_left_alone(
    root: Path, change: DiskChange, at: int
) -> None:
    with (root / "dev/vdb").open("r+b") as stream:
        stream.seek(at)
        stream.write(b"x")
    programs = Programs()
    assert apply(root, programs, change) == ["/dev/vdb: left alone: it holds data by now"]
    assert programs.ran == []


def test_a_missing_disk_and_a_refused_one_are_told_and_the_rest_is_done(root: Path) -> None:
    programs = Programs()
    changes = (Format("/dev/vdx", "ext4"), Refuse("/dev/vdy", "so"), Format("/dev/vdb1", "ext4"))
    assert apply(root, programs, *changes) == [
        "/dev/vdx: left alone: No such file or directory",
        "/dev/vdy: left alone: so",
    ]
    assert programs.ran == [("mkfs.ext4", "-q", "/dev/vdb1")]


def test_without_its_partitions_no_file_system_is_made(root: Path) -> None:
    programs = Programs(fails="systemd-repart")
    swap = SwapFile(PurePosixPath("/var/s"), 1 << 20)
    changes = (
        MakePartitions("/dev/vdb", (Share(100),)),
        Format("/dev/vdb1", "ext4", wipe=True),
        swap,
    )
    assert apply(root, programs, *changes) == [
        "`systemd-repart` ended with 1",
        "/dev/vdb1: left alone, as /dev/vdb was not partitioned",
    ]
    assert [argv[0] for argv in programs.ran] == ["systemd-repart", "mkswap"]
    assert list((root / "run/bedplate").iterdir()) == []


# --- swap files -----------------------------------------------------------------------------------

SWAP = SwapFile(PurePosixPath("/var/swap/file"), 1 << 20)


def test_a_swap_file_is_made_once_and_for_root_alone(root: Path) -> None:
    programs = Programs()
    assert apply(root, programs, SWAP, SWAP) == []
    assert [argv[0] for argv in programs.ran] == ["mkswap"]
    file = root / "var/swap/file"
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (1 << 20, 0o600)
    assert file.stat().st_blocks * 512 >= 1 << 20  # no holes
    assert list(file.parent.iterdir()) == [file]


def test_a_swap_file_of_another_size_is_made_anew_unless_it_is_in_use(root: Path) -> None:
    programs = Programs()
    apply(root, programs, SWAP)
    larger = SwapFile(SWAP.path, 2 << 20)
    (root / "proc").mkdir()
    swaps = root / "proc/swaps"
    swaps.write_text("Filename Type Size Used Priority\n/var/swap/file file 1 0 -2\n")
    assert apply(root, programs, larger) == [
        "/var/swap/file: in use with another size; the next boot makes it anew"
    ]
    swaps.write_text("Filename Type Size Used Priority\n")
    assert apply(root, programs, larger) == []
    assert (root / "var/swap/file").stat().st_size == 2 << 20


@pytest.mark.parametrize("what", ["file", "short", "link", "dangling", "folder"])
def test_what_is_no_swap_file_is_left_alone(root: Path, what: str) -> None:
    file = root / "var/swap/file"
    file.parent.mkdir(parents=True)
    if what == "folder":
        file.mkdir()
    elif what in ("link", "dangling"):
        file.symlink_to(root / ("dev/vdb" if what == "link" else "dev/vdz"))
    else:
        file.write_bytes(bytes(SWAP.size if what == "file" else 10))
    programs = Programs()
    message = "/var/swap/file: it is there already, and no swap file; name another"
    assert apply(root, programs, SWAP) == [message]
    assert programs.ran == []


def test_a_swap_file_that_fails_leaves_nothing(root: Path) -> None:
    assert apply(root, Programs(fails="mkswap"), SWAP) == ["`mkswap` ended with 1"]
    assert list((root / "var/swap").iterdir()) == []


def test_a_swap_file_does_not_fill_the_disk(root: Path) -> None:
    programs = Programs()
    (fault,) = apply(root, programs, SwapFile(SWAP.path, 1 << 60))
    assert "would fill the disk" in fault
    assert programs.ran == []


def test_a_swap_file_that_is_there_is_not_outstanding(tmp_path: Path) -> None:
    wanted = SwapFile(PurePosixPath("/var/swap"), 8192)
    assert outstanding((wanted,), tmp_path) == (wanted,)
    file = tmp_path / "var/swap"
    file.parent.mkdir()
    file.write_bytes(b"SWAPSPACE2".rjust(4096, b"\0") + bytes(4096))
    assert outstanding((wanted,), tmp_path) == ()
    assert outstanding((SwapFile(wanted.path, 4096),), tmp_path) != ()
