"""Crashes that are kept: which there are, what is told of them, and one given out whole."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostapi import containers, crashes
from hostapi.acts.crashes import ACTS, crash
from hostapi.acts.types import Request
from hostapi.contract import BY_NAME, read_all
from hostapi.crashes import kept, listing
from hostapi.entries import Container
from hostapi.selection import COREDUMP
from journal_model import NOW, Journal, entry

_AT = 1_795_376_994_000_000
_CORE = f"core.nginx.0.{NOW}.4242.{_AT}.zst"
_ODD = rf"core.python3\x2e13\x20x.1000.{NOW}.7.{_AT + 1_000_000}.zst"
_MESSAGE_ID = COREDUMP.partition("=")[2]


@pytest.fixture(autouse=True)
def pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "known", lambda: {"old-main": Container("old", "main")})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host with two core dumps and a kernel crash."""
    cores, kernel = tmp_path / crashes.CORES, tmp_path / crashes.KERNEL
    cores.mkdir(parents=True)
    (cores / _CORE).write_bytes(b"core" * 100_000)
    (cores / _ODD).write_bytes(b"odd")
    (cores / f".#{_CORE}").write_bytes(b"being written")
    (cores / "lost+found").mkdir()
    record = kernel / "1795370000/002"
    record.mkdir(parents=True)
    (record / "dmesg.txt").write_text("Panic#2 Part1\n<0>Kernel panic\n")
    (record / "dmesg-efi_pstore-179537000001002").write_text("<0>Kernel panic\n")
    (kernel / "console-ramoops-0").write_text("ramoops")
    (kernel / ".#dmesg-efi_pstore-1").write_text("being written")
    os.utime(kernel / "console-ramoops-0", (1_700_000_000, 1_700_000_000))
    return tmp_path


def _dumped(path: str, **fields: Any) -> Mapping[str, object]:  # noqa: ANN401
    file = f"/{crashes.CORES}/{path}"
    return entry(1, "dumped core", MESSAGE_ID=_MESSAGE_ID, COREDUMP_FILENAME=file, **fields)


def _listed(root: Path, *entries: Mapping[str, object]) -> list[dict[str, Any]]:
    journal = Journal(*entries)
    told = listing(root, journal.open)
    assert told["schema"] == 1
    assert all(reader.closed for reader in journal.readers)
    return cast("list[dict[str, Any]]", told["crashes"])


# --- The list -------------------------------------------------------------------------------------


def test_what_the_files_tell(root: Path) -> None:
    assert _listed(root) == [
        {
            "name": f"core.python3.13_x.1000.{NOW}.7.{_AT + 1_000_000}.zst",
            "kind": "core",
            "at": "2026-11-22T19:49:55.000000Z",
            "bytes": 3,
            "program": "python3.13 x",
            "pid": 7,
        },
        {
            "name": _CORE,
            "kind": "core",
            "at": "2026-11-22T19:49:54.000000Z",
            "bytes": 400_000,
            "program": "nginx",
            "pid": 4242,
        },
        {
            "name": "kernel.1795370000.002.dmesg.txt",
            "kind": "kernel",
            "at": "2026-11-22T17:53:20.000000Z",
            "bytes": 30,
            "program": "kernel",
        },
        {
            "name": "kernel.console-ramoops-0",
            "kind": "kernel",
            "at": "2023-11-14T22:13:20.000000Z",
            "bytes": 7,
            "program": "kernel",
        },
    ]


def test_what_the_journal_tells(root: Path) -> None:
    container = "ab" * 32
    group = (
        f"/machine.slice/machine-libpod_pod_{'12' * 32}.slice/libpod-{container}.scope/container"
    )
    found = _listed(
        root,
        entry(
            1, "hello", CONTAINER_ID_FULL=container, CONTAINER_NAME="web-main", CONTAINER_TAG="web"
        ),
        _dumped(_ODD, COREDUMP_SIGNAL=6, COREDUMP_UNIT="x.service"),
        _dumped(
            _CORE,
            COREDUMP_EXE="/usr/sbin/nginx",
            COREDUMP_SIGNAL=11,
            COREDUMP_SIGNAL_NAME="SIGSEGV",
            COREDUMP_CGROUP=group,
            COREDUMP_ENVIRON="TOKEN=secret",
        ),
    )
    assert found[1] == {
        "name": _CORE,
        "kind": "core",
        "at": "2026-11-22T19:49:54.000000Z",
        "bytes": 400_000,
        "program": "/usr/sbin/nginx",
        "pid": 4242,
        "signal": "SIGSEGV",
        "pod": "web",
        "container": "main",
    }
    assert found[0]["signal"] == "SIGABRT"
    assert found[0]["unit"] == "x.service"
    assert "pod" not in found[0]


def test_a_container_that_never_logged(root: Path) -> None:
    found = _listed(root, _dumped(_CORE, COREDUMP_CGROUP=f"/libpod-{'ab' * 32}.scope"))
    assert "pod" not in found[1]


def test_a_host_on_which_nothing_ever_crashed(tmp_path: Path) -> None:
    assert listing(tmp_path, Journal().open) == {"schema": 1, "crashes": []}


def test_names_are_what_the_contract_takes(root: Path) -> None:
    for each in kept(root):
        read_all(BY_NAME["crash"].parameters, {"name": each.name})


_COMM = st.binary(min_size=1, max_size=15).filter(lambda comm: b"\0" not in comm)


@given(_COMM)
def test_any_process_name_has_a_name(comm: bytes) -> None:
    plain = re.compile(rb"[^\x21-\x7e]|[./\\]")
    escaped = plain.sub(lambda match: b"\\x%02x" % match[0][0], comm).decode()
    status = os.stat(__file__)  # noqa: PTH116 - a file's
    found = crashes._crash(crashes.Kind.CORE, Path(f"core.{escaped}.0.{NOW}.1.{_AT}"), status)
    assert found
    assert found.program.encode("latin-1") == comm
    read_all(BY_NAME["crash"].parameters, {"name": found.name})


def test_no_link_is_followed(root: Path) -> None:
    cores = root / crashes.CORES
    (root / "secret").write_bytes(b"secret")
    (cores / f"core.a.0.{NOW}.1.{_AT}").symlink_to(root / "secret")
    (root / crashes.KERNEL / "1795370001").symlink_to(cores)
    assert len(kept(root)) == 4


# --- One of them ----------------------------------------------------------------------------------


class _Told:
    """What an act tells."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def progress(self, found: Mapping[str, object]) -> None:
        raise AssertionError(found)

    def data(self, block: bytes) -> None:
        assert len(block) <= 1 << 20
        self.blocks.append(block)


def _asked(name: str) -> Request:
    return Request("someone", {"name": name})


def test_a_core_dump_comes_in_pieces(root: Path) -> None:
    told = _Told()
    assert crash(_asked(_CORE), told, root) == {"name": _CORE, "bytes": 400_000}
    assert b"".join(told.blocks) == b"core" * 100_000
    assert len(told.blocks) == 2


def test_every_name_of_the_list_can_be_had(root: Path) -> None:
    for each in kept(root):
        told = _Told()
        assert crash(_asked(each.name), told, root)["bytes"] == each.bytes
        assert sum(map(len, told.blocks)) == each.bytes


@pytest.mark.parametrize(
    "name",
    [
        "core",
        "../../../../etc/shadow",
        f".#{_CORE}",
        _ODD,
        "dmesg.txt",
        "1795370000",
        "kernel.1795370000.002.dmesg-efi_pstore-179537000001002",
        "",
    ],
)
def test_other_names_are_missing(root: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="is kept"):
        crash(_asked(name), _Told(), root)


def test_what_became_a_link_is_not_opened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "secret").write_bytes(b"secret")
    opened = os.open

    def swapped(path: Any, flags: int, *rest: Any, dir_fd: int | None = None) -> int:  # noqa: ANN401
        if path == _CORE:
            (root / crashes.CORES / _CORE).unlink()
            (root / crashes.CORES / _CORE).symlink_to(root / "secret")
        return opened(path, flags, *rest, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", swapped)
    told = _Told()
    with pytest.raises(OSError, match="symbolic links"):
        crash(_asked(_CORE), told, root)
    assert not told.blocks


def test_the_act_is_the_contracts() -> None:
    assert set(ACTS) == {"crash"}
    assert BY_NAME["crash"].act
