"""What the server reads by itself: statuses and metrics below /run."""

import json
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostapi.exposition import join
from hostapi.reading import agent, metrics, read_bounded, read_object, status
from hostapi.refusal import Fault, RefusedError
from overlay import report as overlay_report
from overlay.places import Places as OverlayPlaces
from podagent import report as pods_report
from podagent.places import Places as PodPlaces
from updater.metrics import Sample, render_metrics


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host on which all agents have reported."""
    write(tmp_path / "usr/lib/os-release", 'IMAGE_ID="bedplate"\nIMAGE_VERSION=7\n')
    write(tmp_path / "proc/stat", "cpu 1 2\nbtime 1767225600\nprocesses 5\n")
    write(tmp_path / "proc/sys/kernel/random/boot_id", "6a1c\n")
    write(tmp_path / "proc/net/fib_trie", "  |-- 192.0.2.7\n     /32 host LOCAL\n")
    write(tmp_path / "proc/net/if_inet6", "")
    write(tmp_path / "run/bedplate/status.json", '{"schema": 1, "slot": "b", "last_error": "u"}')
    write(tmp_path / "run/bedplate/health.json", '{"health": "good", "detail": "all well"}')
    write(tmp_path / "run/bedplate/config/status.json", '{"schema": 1, "faults": []}')
    found = {"fingerprint": "SHA256:AB", "not_after": "2027-01-01T00:00:00Z", "source": "enrolled"}
    write(tmp_path / "run/bedplate/api/certificate.json", json.dumps(found | {"more": 1}))
    held = overlay_report.Status(overlay_report.State.READY, "", datetime(2026, 11, 23, tzinfo=UTC))
    overlay_report.publish(held, OverlayPlaces(tmp_path))
    pods_report.publish(pods_report.Status(), PodPlaces(tmp_path))
    return tmp_path


def test_a_status_has_all_agents(host: Path) -> None:
    found = status(host)
    machine = found["host"]
    assert isinstance(machine, dict)
    assert isinstance(machine.pop("name"), str)
    assert machine == {
        "image": "bedplate",
        "version": "7",
        "slot": "b",
        "boot_id": "6a1c",
        "booted_at": "2026-01-01T00:00:00Z",
        "addresses": ["192.0.2.7"],
    }
    assert found["health"] == {"state": "good", "detail": "all well"}
    assert found["certificate"] == {
        "fingerprint": "SHA256:AB",
        "not_after": "2027-01-01T00:00:00Z",
        "source": "enrolled",
    }
    agents = found["agents"]
    assert isinstance(agents, dict)
    assert all(each["schema"] == 1 for each in agents.values())
    assert found["last_error"] == "u"


def test_a_host_that_says_nothing_has_a_status(tmp_path: Path) -> None:
    found = status(tmp_path)
    assert found["agents"] == dict.fromkeys(("update", "config", "overlay", "pods"))
    assert found["health"] == {"state": "starting", "detail": ""}
    assert (found["certificate"], found["last_error"]) == (None, "")


@pytest.mark.parametrize("torn", ["", "{", "[]", "7", "[" * 100_000, "\xff", "x" * (3 << 20)])
def test_a_torn_file_is_none(host: Path, torn: str) -> None:
    for name in ("status.json", "overlay/status.json", "api/certificate.json", "health.json"):
        (host / "run/bedplate" / name).write_text(torn, encoding="latin-1")
    found = status(host)
    assert isinstance(found["agents"], dict)
    assert (found["agents"]["update"], found["agents"]["overlay"]) == (None, None)
    assert found["certificate"] is None
    with pytest.raises(RefusedError) as error:
        agent(host, "overlay")
    assert error.value.fault is Fault.MISSING


def test_what_is_wrong_comes_first(host: Path) -> None:
    write(host / "run/bedplate/overlay/status.json", '{"fault": "etcd is away"}')
    assert status(host)["last_error"] == "etcd is away"
    write(host / "run/bedplate/config/status.json", '{"faults": ["line 3: unknown key", "b"]}')
    assert status(host)["last_error"] == "line 3: unknown key"


def test_one_agent(host: Path) -> None:
    assert agent(host, "pods")["pods"] == []
    assert agent(host, "overlay")["state"] == "ready"


@pytest.mark.parametrize("name", ["pods", "overlay"])
def test_an_agent_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(RefusedError, match="has not reported since the boot"):
        agent(tmp_path, name)


def test_what_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_bounded(path, 10) == b"x" * 10
    assert read_bounded(path, 9) is None
    assert read_object(tmp_path) is None


# --- Metrics --------------------------------------------------------------------------------------


def test_metrics_of_all_agents(host: Path) -> None:
    text = metrics(host)
    lines = text.splitlines()
    assert len([each for each in lines if each.startswith("# TYPE")]) == len(
        {each.split()[2] for each in lines if each.startswith("# TYPE")}
    )
    assert "bedplate_pods_ready 0" in lines
    assert 'bedplate_overlay_state{state="ready"} 1' in lines


def test_what_several_files_have_is_told_once() -> None:
    first = '# HELP a Of a.\n# TYPE a gauge\na{x="1"} 1\n# HELP b Of b.\n# TYPE b gauge\nb 2\n'
    second = '# HELP a Of a again.\n# TYPE a gauge\na{x="1"} 7\na{x="2"} 3\n'
    assert join((first, second)) == (
        '# HELP a Of a.\n# TYPE a gauge\na{x="1"} 1\na{x="2"} 3\n'
        "# HELP b Of b.\n# TYPE b gauge\nb 2\n"
    )


def test_a_histogram_stays_together() -> None:
    text = (
        "# HELP h Of h.\n# TYPE h histogram\n"
        'h_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 3\nh_count 2\n'
    )
    assert join((text,)) == text


@pytest.mark.parametrize("line", ["", "a", "a b", "1a 3", "a{ 3", 'a{x="1} 3', "# a", "\x00"])
def test_what_is_no_line_is_left_out(line: str) -> None:
    assert join((line + "\nup 1\n",)) == "up 1\n"


_NAMES = st.sampled_from(("a", "b_c", "d_sum"))
_SAMPLES = st.builds(
    Sample,
    _NAMES,
    st.text("xy ", max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.sampled_from("lm"), st.text('"\\,}{=x', max_size=5)),
)


@given(st.lists(st.lists(_SAMPLES, max_size=6), max_size=4))
def test_a_joined_text_is_valid(files: list[list[Sample]]) -> None:
    text = join(render_metrics(each).decode() for each in files)
    assert join((text,)) == text
    names = [each.split("{")[0].split()[0] for each in text.splitlines() if each[:1] != "#"]
    groups = [name for name, _ in groupby(names)]
    assert len(groups) == len(set(groups))
