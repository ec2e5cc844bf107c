import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import pytest

from agent_kit import (
    ONE,
    THREE,
    TWO,
    Machine,
    PowerCutError,
    machine,
    quick_path,
    release_of,
    to,
)
from storage_samples import Release
from storage_server import Server
from trust_kit import NOW, Site, make_store, served_site
from updater import agent, boot, bootentries, cli, programs, stage, state, status
from updater.agent import Check, PreflightError, RollbackError
from updater.bootcheck import Outcome
from updater.context import Context
from updater.decide import Decision, Verdict
from updater.errors import NotYetError
from updater.esp import EspError
from updater.fetch import FetchError, Limits
from updater.state import EventKind, Phase

__all__ = ["machine", "quick_path"]


@pytest.fixture
def two(tmp_path: Path, machine: Machine) -> Release:
    made = release_of(tmp_path / "two", "2", [1, 2, 30, 4, 31, 6, 7, 0, 32])
    machine.knows(made)
    return made


@pytest.fixture
def server(two: Release) -> Iterator[Server]:
    with Server(dict(two.files)) as running:
        yield running


def staged(machine: Machine, server: Server, release: Release) -> None:
    assert machine.start().outcome in (Outcome.NORMAL, Outcome.UNTRIED, Outcome.UNFINISHED)
    assert machine.agent(server.url).apply(to(release))


def test_update_from_one_to_two(machine: Machine, server: Server, two: Release) -> None:
    staged(machine, server, two)
    assert machine.names() == ["bedplate_1.efi", "bedplate_2+3.efi"]
    assert machine.other_label() == "bedplate_2"
    assert machine.context().store.load().phase is Phase.STAGED

    machine.agent(server.url).reboot()
    assert (machine.reboots, machine.drains) == (1, 1)
    told = status.parse(machine.paths.status.read_bytes()).decision
    assert told == "draining the pods, then rebooting into the staged release"
    assert machine.boot() == TWO
    assert machine.start().outcome is Outcome.TRIAL
    assert machine.started == [boot.BLESSING_UNIT]
    assert machine.context().store.load().phase is Phase.TRIAL
    assert boot.mark_good(machine.context()) == "version 2 is good"
    assert machine.names() == ["bedplate_1.efi", "bedplate_2.efi"]
    known = machine.context().store.load()
    assert known.phase is Phase.IDLE
    assert [event.kind for event in known.history] == [
        EventKind.STAGING,
        EventKind.STAGED,
        EventKind.TRIAL,
        EventKind.GOOD,
    ]


def test_a_start_is_counted_once_a_boot(machine: Machine, server: Server, two: Release) -> None:
    staged(machine, server, two)
    machine.boot()
    for _ in range(4):
        assert machine.start().outcome is Outcome.TRIAL
    assert machine.context().store.load().tries == 1


def test_nothing_is_staged_from_a_boot_on_trial(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    machine.boot()
    machine.start()
    before = machine.names()
    three = replace(two.manifest, version=THREE)
    with pytest.raises(NotYetError, match="on trial"):
        machine.agent(server.url).apply(Check(Decision(Verdict.UPDATE, "", THREE), three))
    assert machine.names() == before


def test_nothing_is_staged_before_the_running_entry_is_good(
    machine: Machine, server: Server, two: Release
) -> None:
    (machine.entries / "bedplate_1.efi").rename(machine.entries / "bedplate_1+3.efi")
    with pytest.raises(NotYetError, match="not marked good yet"):
        machine.agent(server.url).apply(to(two))
    assert machine.other_label() == "_empty"
    assert machine.context().store.load().phase is Phase.IDLE


def test_nothing_is_dropped_when_the_running_entry_is_not_there(
    machine: Machine, server: Server, two: Release
) -> None:
    (machine.entries / "bedplate_1.efi").rename(machine.entries / "bedplate_0.efi")
    with pytest.raises(NotYetError, match="no boot entry"):
        machine.agent(server.url).apply(to(two))
    assert machine.names() == ["bedplate_0.efi"]


def test_what_does_not_fit_is_refused_before_anything_changes(
    machine: Machine, server: Server, two: Release
) -> None:
    uki = replace(two.manifest.uki, length=1 << 50)
    with pytest.raises(PreflightError, match=r"EFI system partition.*are needed"):
        machine.agent(server.url).apply(to(replace(two, manifest=replace(two.manifest, uki=uki))))
    assert server.asked == []
    assert machine.context().store.load().phase is Phase.IDLE
    published = status.parse(machine.paths.status.read_bytes())
    assert "does not fit" in published.last_error


def test_a_garbled_kernel_image_leaves_no_entry(
    machine: Machine, server: Server, two: Release
) -> None:
    server.files["bedplate.efi"] = bytes(len(two.files["bedplate.efi"]))
    with pytest.raises(Exception, match="not the bytes that were signed"):
        machine.agent(server.url).apply(to(two))
    assert machine.names() == ["bedplate_1.efi"]
    assert machine.other_label() == "_empty"
    assert machine.boot() == ONE
    assert machine.start().outcome is Outcome.UNFINISHED
    server.files = dict(two.files)
    staged(machine, server, two)
    assert machine.names() == ["bedplate_1.efi", "bedplate_2+3.efi"]


def test_a_failed_trial_is_rejected_for_good(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    for tries in (1, 2, 3):
        assert machine.boot() == TWO
        assert machine.start().outcome is Outcome.TRIAL
        assert machine.context().store.load().tries == tries
    assert machine.boot() == ONE
    rolled_back = machine.start()
    assert rolled_back.outcome is Outcome.ROLLED_BACK
    known = machine.context().store.load()
    assert known.is_rejected(TWO)
    assert "started 3 times" in known.last_error
    assert machine.names() == ["bedplate_1.efi"]
    with pytest.raises(state.TransitionError, match="rejected"):
        machine.agent(server.url).apply(to(two))


def test_a_release_that_dies_before_our_code_is_rejected(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    for _ in range(3):
        assert machine.boot() == TWO
    assert machine.boot() == ONE
    assert machine.start().outcome is Outcome.ROLLED_BACK
    assert machine.context().store.load().is_rejected(TWO)


def test_tries_are_counted_where_the_boot_loader_cannot(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    for _ in range(3):
        assert machine.boot(count=False) == TWO
        assert machine.start().outcome is Outcome.TRIAL
    assert machine.boot(count=False) == TWO
    assert machine.start().outcome is Outcome.EXHAUSTED
    assert (machine.reboots, machine.drains) == (1, 0)
    assert machine.boot(count=False) == ONE
    assert machine.start().outcome is Outcome.NORMAL
    assert machine.context().store.load().is_rejected(TWO)


def test_with_a_broken_esp_the_firmware_is_asked_for_the_old_entry(
    machine: Machine, server: Server, two: Release
) -> None:
    variables = machine.folder / "sys/firmware/efi/efivars"
    variables.mkdir(parents=True)
    staged(machine, server, two)
    machine.esp_broken = True
    for _ in range(4):
        assert machine.boot(count=False) == TWO
        machine.start()
    assert machine.reboots == 1
    [variable] = variables.iterdir()
    assert variable.read_bytes()[4:].decode("utf-16-le") == "bedplate_1.efi\0"
    # It came up again all the same: it is left again, but not for ever.
    for _ in range(6):
        machine.boot(count=False)
        assert machine.start().outcome is Outcome.UNWANTED
    assert (machine.reboots, machine.drains) == (3, 0)


def test_a_rejected_release_is_never_blessed(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    machine.boot()
    machine.context().store.update(
        lambda known: state.reject(known, TWO, "bad", machine.context().now())
    )
    assert "not marked good" in boot.mark_good(machine.context())
    assert machine.names() == ["bedplate_1.efi", "bedplate_2+2-1.efi"]


def test_a_staged_release_that_never_starts_is_given_up(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    for _ in range(2):
        machine.boots += 1
        (machine.folder / "proc/sys/kernel/random/boot_id").write_text(f"boot-{machine.boots}")
        assert machine.start().outcome is Outcome.UNTRIED
        assert machine.start().outcome is Outcome.UNTRIED
    machine.boots += 1
    (machine.folder / "proc/sys/kernel/random/boot_id").write_text(f"boot-{machine.boots}")
    assert machine.start().outcome is Outcome.ROLLED_BACK
    assert machine.names() == ["bedplate_1.efi"]


def test_a_release_that_is_no_longer_offered_is_withdrawn(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    assert not machine.agent(server.url).apply(Check(Decision(Verdict.CURRENT, "nothing newer")))
    assert machine.names() == ["bedplate_1.efi"]
    assert machine.other_label() == "_empty"
    assert machine.context().store.load().phase is Phase.IDLE
    staged(machine, server, two)


def test_a_newer_release_takes_the_place_of_a_staged_one(
    machine: Machine, server: Server, two: Release, tmp_path: Path
) -> None:
    staged(machine, server, two)
    three = release_of(tmp_path / "three", "3", [1, 2, 30, 4, 5, 6])
    machine.knows(three)
    server.files = dict(three.files)
    staged(machine, server, three)
    assert machine.names() == ["bedplate_1.efi", "bedplate_3+3.efi"]
    assert machine.boot() == THREE


def test_what_is_staged_is_not_fetched_again(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    asked = len(server.asked)
    assert machine.agent(server.url).apply(to(two))
    assert len(server.asked) == asked


def test_a_lost_state_learns_from_bad_entries(machine: Machine) -> None:
    (machine.entries / "bedplate_2+0-3.efi").write_bytes(b"kernel")
    machine.start()
    assert machine.context().store.load().is_rejected(TWO)


def good_two(machine: Machine, server: Server, two: Release) -> None:
    staged(machine, server, two)
    machine.boot()
    machine.start()
    boot.mark_good(machine.context())


def test_roll_back_by_a_person(machine: Machine, server: Server, two: Release) -> None:
    good_two(machine, server, two)
    seen: list[stage.Progress] = []
    assert agent.roll_back(machine.context(), seen.append) == ONE
    assert machine.names() == ["bedplate_1.efi", "bedplate_2+0-3.efi"]
    assert (machine.reboots, machine.drains) == (1, 1)
    assert seen
    assert machine.boot() == ONE
    assert machine.start().outcome is Outcome.NORMAL
    assert machine.context().store.load().is_rejected(TWO)
    agent.unreject(machine.context(), TWO)
    assert machine.names() == ["bedplate_1.efi"]
    staged(machine, server, two)


def test_no_roll_back_to_a_damaged_slot(machine: Machine, server: Server, two: Release) -> None:
    good_two(machine, server, two)
    path = machine.context().layout().inactive.root.path
    with path.open("r+b") as stream:
        stream.write(b"flipped")
    before = machine.names()
    with pytest.raises(RollbackError, match="damaged"):
        agent.roll_back(machine.context(), lambda _progress: None)
    assert machine.names() == before
    assert not machine.context().store.load().is_rejected(TWO)


def test_no_roll_back_forward(machine: Machine, server: Server, two: Release) -> None:
    with pytest.raises(RollbackError, match="holds no release"):
        agent.roll_back(machine.context(), lambda _progress: None)
    staged(machine, server, two)
    with pytest.raises(RollbackError, match="was not started yet"):
        agent.roll_back(machine.context(), lambda _progress: None)


def test_a_good_release_on_a_broken_esp_is_good(
    machine: Machine, server: Server, two: Release
) -> None:
    staged(machine, server, two)
    machine.boot()
    machine.start()
    machine.esp_broken = True
    assert "still has a counter" in boot.mark_good(machine.context())
    assert machine.context().store.load().phase is Phase.IDLE
    machine.esp_broken = False
    assert boot.bless(machine.context()) == ""
    assert machine.names() == ["bedplate_1.efi", "bedplate_2.efi"]


def test_an_entry_that_reads_back_wrong_is_none(machine: Machine, two: Release) -> None:
    def write_other(sink: BinaryIO) -> None:
        sink.write(b"other")

    entry = bootentries.fresh(TWO)
    with (
        pytest.raises(EspError, match="read back"),
        machine.context().mounted_esp(machine.context().layout()) as esp,
    ):
        esp.prepare(entry, two.manifest.uki.sha256, write_other)
    assert machine.names() == ["bedplate_1.efi"]


def test_leftovers_make_way(machine: Machine, server: Server, two: Release) -> None:
    (machine.entries / "bedplate_9+3.part").write_bytes(b"half")
    (machine.entries / "someone.efi").write_bytes(b"else's")
    staged(machine, server, two)
    assert machine.names() == ["bedplate_1.efi", "bedplate_2+3.efi", "someone.efi"]


def test_an_esp_left_mounted_is_mounted_anew(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    unmounted: list[Path] = []
    monkeypatch.setattr(Path, "is_mount", lambda _path: True)
    monkeypatch.setattr(programs, "unmount", unmounted.append)
    assert boot.entries(machine.context())
    assert unmounted == [machine.paths.esp] * 2


def test_the_cli_tells_of_it(
    machine: Machine, server: Server, two: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    good_two(machine, server, two)
    assert cli.main(["history"], machine.paths) == 0
    assert "good         2" in capsys.readouterr().out
    assert cli.main(["status", "--json"], machine.paths) == 0
    assert '"version": "2"' in capsys.readouterr().out


@contextmanager
def offered(folder: Path, machine: Machine, release: Release) -> Iterator[Site]:
    """A signed repository that offers `release`, and a host that trusts its root."""
    build = folder / "build"
    build.mkdir()
    for name, data in release.files.items():
        (build / name).write_bytes(data)
    (build / "manifest.json").write_bytes(release.manifest.render())
    with served_site(folder / "site", make_store(folder / "keys")) as site:
        site.repository.add(build, site.signing())
        site.repository.promote(release.manifest.version, "stable", [], site.signing())
        shutil.copyfile(site.repository.root_path(1), machine.paths.first_root)
        machine.start()
        yield site


def test_from_a_signed_repository(
    tmp_path: Path, machine: Machine, two: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: TUF, channel, manifest, wire, slot, entry."""
    monkeypatch.setattr("updater.tuffetch._LIMITS", Limits(retries=0))
    monkeypatch.setattr("updater.context.trusted_now", lambda _running, _last: NOW)
    with offered(tmp_path, machine, two) as site:
        worker = machine.agent(site.url)
        found = worker.check()
        assert found.decision.verdict is Verdict.UPDATE
        assert worker.apply(found)
        known = machine.context().store.load()
        assert known.trusted_time == NOW
        assert known.last_check == NOW
        assert known.last_error == ""
        assert machine.boot() == TWO
        machine.start()
        boot.mark_good(machine.context())
        again = machine.agent(site.url).check()
        assert again.decision.verdict is Verdict.CURRENT
    with pytest.raises(FetchError):
        machine.agent("http://127.0.0.1:1").check()
    assert "127.0.0.1:1" in machine.context().store.load().last_error


def test_what_was_just_verified_tells_the_time_to_a_clock_that_is_behind(
    tmp_path: Path, machine: Machine, two: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = NOW - timedelta(hours=1)
    monkeypatch.setattr("updater.context.trusted_now", lambda _running, _last: behind)
    with offered(tmp_path, machine, two) as site:
        assert machine.agent(site.url).check().decision.verdict is Verdict.UPDATE


# --- Power cuts -----------------------------------------------------------------------------------

_WRITES = ("fsync", "pwrite", "rename", "replace", "unlink", "sync", "symlink", "rmdir")


class Power:
    """Cuts the power before the operation with a given number; what was written before, stays."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = -1
        self.operations = 0
        machine.on_operation = self.spend
        for name in _WRITES:
            monkeypatch.setattr(f"os.{name}", self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: object) -> object:
        assert callable(real)

        def call(*args: object, **kwargs: object) -> object:
            self.spend(name)
            return real(*args, **kwargs)

        return call

    def spend(self, _name: str) -> None:
        self.operations += 1
        if self.left == 0:
            # It stays gone: no `finally` gets anything done.
            raise PowerCutError
        self.left -= 1


def whole_update(machine: Machine, release: Release) -> None:
    """From whatever is there, as the units do it: start, update, reboot, trial, good."""
    for _ in range(4):
        machine.start()
        running = machine.context().running.version
        if running == release.manifest.version:
            boot.mark_good(machine.context())
            return
        worker = machine.agent("http://127.0.0.1:1")
        if worker.apply(to(release)):
            worker.reboot()
            machine.boot()
    raise AssertionError("the update does not come to an end")


class Shelf:
    """A fetcher that needs no network: the cuts are at writes."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.received = 0
        self.ranged = True

    def get(self, url: str, _length: int, _sha256: str) -> bytes:
        return self.files[url.rpartition("/")[2]]

    def stream(self, url: str, start: int, end: int) -> Iterator[bytes]:
        yield self.get(url, 0, "")[start:end]

    def download(self, url: str, _length: int, _sha256: str, sink: BinaryIO) -> None:
        sink.write(self.get(url, 0, ""))


def test_a_power_cut_anywhere_leaves_a_host_that_boots_and_finishes(
    quick_path: Path, machine: Machine, two: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = Shelf(two.files)
    monkeypatch.setattr("updater.agent.Fetcher", lambda *_args, **_kwargs: shelf)
    # Nothing depends on the status, and /run is empty after a cut.
    monkeypatch.setattr(Context, "publish", lambda _self, _view: None)
    # From 1 to 2 and then to 3: the slot that is overwritten is a release that could be started.
    whole_update(machine, two)
    three = release_of(quick_path / "three", "3", [1, 2, 30, 4, 5, 9, 7, 33, 33, 34])
    machine.knows(three)
    shelf.files = three.files
    pristine = quick_path / "pristine"
    shutil.copytree(machine.folder, pristine)
    with monkeypatch.context() as patch:
        counting = Power(machine, patch)
        whole_update(machine, three)
        total = counting.operations
    assert total > 60
    for cut in range(total):
        shutil.rmtree(machine.folder)
        shutil.copytree(pristine, machine.folder)
        with monkeypatch.context() as patch:
            Power(machine, patch).left = cut
            with pytest.raises(PowerCutError):
                whole_update(machine, three)
        machine.on_operation = lambda _name: None
        assert machine.boot() in (TWO, THREE)
        whole_update(machine, three)
        known = machine.context().store.load()
        assert machine.context().running.version == THREE
        assert known.phase is Phase.IDLE
        assert not known.rejected
        own = bootentries.of_version(machine.names(), THREE)
        assert [found.name for found in own] == ["bedplate_3.efi"]
        assert machine.boot() == THREE
