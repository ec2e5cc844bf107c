import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater import bootentries
from updater.bootentries import Entry
from updater.version import Version

VERSIONS = st.lists(st.integers(0, 3000), min_size=1, max_size=4).map(
    lambda parts: Version(tuple(parts))
)
ENTRIES = st.builds(Entry, VERSIONS, st.none()) | st.builds(
    Entry, VERSIONS, st.integers(0, 9), st.integers(0, 9)
)
NAMES = ENTRIES.map(lambda entry: entry.name) | st.sampled_from(
    ["linux.efi", "bedplate_2+3.part", "bedplate_02.efi", ".bedplate_1.part", "notes.txt"]
)


@pytest.mark.parametrize(
    ("name", "left", "done"),
    [
        ("bedplate_2.efi", None, 0),
        ("bedplate_2+3.efi", 3, 0),
        ("bedplate_2+1-2.efi", 1, 2),
        ("bedplate_2+0-3.efi", 0, 3),
    ],
)
def test_names_with_counters(name: str, left: int | None, done: int) -> None:
    entry = bootentries.parse(name)
    assert entry == Entry(Version.parse("2"), left, done)
    assert entry is not None
    assert (entry.good, entry.bad) == (left is None, left == 0)


@pytest.mark.parametrize(
    "name",
    [
        *("bedplate_.efi", "bedplate_2", "bedplate_2.EFI", "bedplate_02.efi", "bedplate_2-1.efi"),
        *("bedplate_2+.efi", "bedplate_2+1-.efi", "xbedplate_2.efi", "bedplate_1.2.3.4.5.efi"),
        *("bedplate_2+3.part", "linux_2.efi", "bedplate_2+3.efi.tmp", "bedplate_٢.efi"),
    ],
)
def test_what_is_not_ours(name: str) -> None:
    assert bootentries.parse(name) is None


@given(ENTRIES)
def test_a_name_reads_back(entry: Entry) -> None:
    assert bootentries.parse(entry.name) == entry
    assert bootentries.parse(bootentries.temporary_name(entry)) is None
    assert bootentries.leftovers([bootentries.temporary_name(entry)])
    assert bootentries.blessed(entry).good
    assert bootentries.condemned(entry).bad


@given(st.lists(NAMES, unique=True), VERSIONS)
def test_the_running_entry_and_strangers_stay(names: list[str], running: Version) -> None:
    doomed = bootentries.to_remove(names, running)
    kept = set(names) - set(doomed)
    assert {found.entry.version for found in bootentries.ours(kept)} <= {running}
    assert set(bootentries.of_version(names, running)) == set(bootentries.ours(kept))
    assert {name for name in names if name in ("linux.efi", "notes.txt")} <= kept
