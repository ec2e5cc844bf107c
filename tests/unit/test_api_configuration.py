"""The acts about the configuration, on a host that is a folder."""

import contextlib
import json
import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig import host, intake
from cloudconfig.host import Stage
from cloudconfig.places import Places
from hostapi import contract
from hostapi.acts import configuration
from hostapi.acts.bounds import BoundError, bounded
from played_root import play_root
from updater.errors import BedplateError

SECRET = "hunter2-hunter2"  # noqa: S105
DOCUMENT = f"""\
#cloud-config
hostname: web-1  # {SECRET}
bedplate: {{sysctl: {{net.ipv4.ip_forward: 1}}}}
coreos:
  units: [{{name: web.service, command: start, content: "[Service]\\nEnvironment=A={SECRET}"}}]
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    play_root(monkeypatch)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/x\n")
    (tmp_path / "etc/group").write_text("root:x:0:\n")
    return Places(tmp_path)


def give(places: Places, document: str) -> None:
    path = places.root / "run/credentials/@system/bedplate.cloud-config"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document)


def boot(places: Places, document: str | None = None) -> None:
    if document is not None:
        give(places, document)
    found, status = intake.take(places, Stage.EARLY)
    prepared = host.prepare(found, places, status)
    host.apply(prepared, places, Stage.EARLY, systemctl=lambda _argv: None)


def everything(root: Path) -> dict[Path, tuple[float, bytes]]:
    return {
        path: (path.stat().st_mtime, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_table_is_the_contracts() -> None:
    known = {each.name for each in contract.ENDPOINTS if each.act}
    assert set(configuration.ACTS) == {"config", "config-plan"} <= known


def test_the_document_in_force_is_shown_without_its_secrets(places: Places) -> None:
    boot(places, DOCUMENT)
    found = configuration.shown(places)
    assert SECRET not in json.dumps(found)
    assert "hostname: web-1" in str(found["document"])
    status = found["status"]
    assert isinstance(status, dict)
    assert (status["schema"], status["in_force"], status["source"]) == (1, "document", "credential")


def test_after_a_fault_it_is_the_last_good_one(places: Places) -> None:
    boot(places, DOCUMENT)
    boot(places, "#cloud-config\nhostnam: web-2\n")
    found = configuration.shown(places)
    assert "hostname: web-1" in str(found["document"])
    assert "web-2" not in str(found["document"])


def test_a_host_without_a_document_shows_an_empty_one(places: Places) -> None:
    boot(places)
    assert configuration.shown(places)["document"] == "#cloud-config\n"


def test_a_document_that_still_waits_is_taken_from_its_source(places: Places) -> None:
    waits = (
        "#cloud-config\nwrite_files:\n"
        f"  - {{path: /etc/a, source: {{uri: 'https://h.org/{SECRET}', sha256: {'a' * 64}}}}}\n"
    )
    boot(places, DOCUMENT)  # which is kept as the last good one
    boot(places, waits)
    found = configuration.shown(places)
    assert "https://h.org<cut out" in str(found["document"])
    assert SECRET not in str(found["document"])
    give(places, DOCUMENT)
    with pytest.raises(BedplateError, match="not to be had any more: credential gives another"):
        configuration.shown(places)


def test_before_anything_was_applied_it_says_so(places: Places) -> None:
    with pytest.raises(BedplateError, match="no status yet"):
        configuration.shown(places)


def test_a_plan_says_what_would_change_and_changes_nothing(places: Places) -> None:
    boot(places, DOCUMENT)
    before = everything(places.root)
    new = DOCUMENT.replace("web-1", "web-2").replace("Service", "Service]\n[X")
    found = configuration.plan(
        f"{new}write_files:\n"
        f"  - {{path: /etc/a, source: {{uri: 'https://h.org/{SECRET}', sha256: {'a' * 64}}}}}\n"
        f"  - {{path: /etc/b, content: {SECRET}}}\n",
        places,
    )
    assert everything(places.root) == before
    assert SECRET not in json.dumps(found)
    assert found["faults"] == []
    changes = found["changes"]
    assert isinstance(changes, list)
    assert "write /etc/a (0644 root:root) from https://h.org<cut out: 16 bytes>" in changes
    assert "write /etc/b (0644 root:root)" in changes
    assert "set the hostname to web-2" in changes
    assert any(line.startswith("change /etc/systemd/system/web.service") for line in changes)


def test_the_present_document_changes_nothing(places: Places) -> None:
    boot(places, DOCUMENT)
    assert configuration.plan(DOCUMENT, places)["changes"] == []


def test_all_faults_are_told_at_once_each_with_its_place(places: Places) -> None:
    boot(places)
    wrong = (
        "#cloud-config\nhostnam: a\ntimezone: [b]\nwrite_files:\n  - {path: /etc/a, colour: c}\n"
    )
    found = configuration.plan(wrong, places)
    assert found["changes"] == []
    faults = found["faults"]
    assert isinstance(faults, list)
    assert [line.split(":")[:2] for line in faults] == [["2", "1"], ["3", "11"], ["5", "20"]]
    assert faults[0].startswith("2:1: unknown key 'hostnam'")


def test_what_only_shows_in_the_making_is_a_fault_too(places: Places) -> None:
    boot(places)
    wrong = "#cloud-config\nwrite_files:\n  - {path: /etc/a, encoding: b64, content: '?'}\n"
    assert "the content is not b64" in str(configuration.plan(wrong, places)["faults"])


@given(st.text(max_size=200))
def test_garbage_is_a_fault(text: str) -> None:
    places = Places(Path("/nowhere"))
    found = configuration.plan(text.encode(errors="replace").decode(), places)
    assert found["faults"]
    assert found["changes"] == []


def test_a_plan_without_a_status_still_is_one(places: Places) -> None:
    found = configuration.plan("#cloud-config\nhostname: a\n", places)
    assert "set the hostname to a" in str(found["changes"])
    assert "planned without what its source says" in str(found["warnings"])


def test_work_that_takes_too_long_is_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with (
        pytest.raises(BoundError, match=r"the plan: not done within 0\.05 s"),
        bounded(0.05, 1 << 40, "the plan"),
    ):
        time.sleep(30)
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def bear_and_go_on() -> None:
    with contextlib.suppress(BedplateError):
        time.sleep(30)
    time.sleep(30)


def test_work_that_bears_an_error_is_ended_all_the_same() -> None:
    with pytest.raises(BoundError), bounded(0.05, 1 << 40, "the plan"):
        bear_and_go_on()


def test_work_that_needs_too_much_memory_is_ended() -> None:
    with (
        pytest.raises(BoundError, match="more than 1024 MiB"),
        bounded(30, 1 << 30, "the plan"),
    ):
        bytearray(2 << 30)
    assert len(bytearray(1 << 20)) == 1 << 20
