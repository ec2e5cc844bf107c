import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etcd_model import EtcdModel
from hostapi import port
from hostkit.etcd import Change
from podagent.cluster.hosts import MACHINE, host_labels, host_record
from podagent.cluster.records import (
    HostRecord,
    RecordError,
    Report,
    RolloutRecord,
    SlotRecord,
    decode,
    encode,
)
from podagent.cluster.view import View
from pods_cluster_hosts import manifest, parse, text, view_of
from updater.errors import InputError

texts = st.text()
numbers = st.integers(0, 2**40)
RECORDS = st.one_of(
    st.builds(
        HostRecord, st.dictionaries(texts, texts), st.lists(texts).map(tuple), st.booleans(), texts
    ),
    st.builds(SlotRecord, texts, texts, st.booleans(), st.floats(0, 1e9)),
    st.builds(
        Report,
        texts,
        st.booleans(),
        texts,
        st.none() | numbers,
        st.booleans(),
        texts,
        st.lists(texts).map(tuple),
        numbers,
        st.dictionaries(texts, texts),
        texts,
    ),
    st.builds(RolloutRecord, texts, texts),
)


@given(RECORDS)
def test_records_come_back(record: SlotRecord) -> None:
    assert decode(type(record), encode(record)) == record


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"{}",
        b'{"host":1,"digest":""}',
        b'{"host":"","digest":"","leaving":1}',
        b'{"host":"","digest":"","since":true}',
        b"\xff",
    ],
)
def test_what_is_no_record_is_refused(value: bytes) -> None:
    with pytest.raises(RecordError):
        decode(SlotRecord, value)


def test_what_a_newer_release_adds_is_passed_over() -> None:
    more = json.loads(encode(SlotRecord("a", "d"))) | {"colour": "red"}
    assert decode(SlotRecord, json.dumps(more).encode()) == SlotRecord("a", "d")


# --- The view -------------------------------------------------------------------------------------


def put(view: View, key: str, value: bytes | None, revision: int = 5) -> None:
    view.changed(Change(f"/bedplate/{key}", value, revision, 7))


def test_what_cannot_be_read_is_passed_over_and_told() -> None:
    view = View(parse)
    put(view, "hosts/a", b"x")
    put(view, "slots/web/0", b"x")
    put(view, "slots/web/x", b"x")
    put(view, "slots/web/01", b"x")
    put(view, "slots/web/99999999999", b"x")
    put(view, "rollouts/web", b"x")
    put(view, "other/thing/entirely/else", b"x")
    assert not view.hosts
    # Its place is taken all the same.
    assert view.slots["web"][0].value.host == ""
    assert list(view.slots["web"]) == [0]
    assert view.rollouts["web"].revision == 5
    assert sorted(view.broken) == [
        f"/bedplate/{key}" for key in ("hosts/a", "rollouts/web", "slots/web/0")
    ]
    for key in ("hosts/a", "slots/web/0", "rollouts/web"):
        put(view, key, None)
    assert (view.slots, view.rollouts, view.broken) == ({}, {}, {})


def test_a_manifest_that_is_refused_leaves_the_last_good_one() -> None:
    view = View(parse)
    put(view, "pods/web", text(manifest()), 5)
    put(view, "pods/web", b"garbage", 6)
    workload = view.workloads["web"]
    assert (workload.manifest, workload.revision) == (manifest(), 6)
    assert workload.refused == "/bedplate/pods/web:1:1: no manifest"
    put(view, "pods/web", text(manifest(replicas=5)), 7)
    assert (view.workloads["web"].slots, view.workloads["web"].refused) == (5, "")
    put(view, "pods/web", text(manifest("other")), 8)
    assert "called other; expected web" in view.workloads["web"].refused


def test_a_list_begins_anew_and_keeps_the_last_good_manifest() -> None:
    etcd = EtcdModel()
    etcd.put("/bedplate/pods/web", b"garbage")
    view = View(parse)
    put(view, "pods/web", text(manifest()))
    put(view, "pods/gone", text(manifest("gone")))
    put(view, "slots/web/0", encode(SlotRecord("a", "d")))
    view.listed(etcd.list("/bedplate/"))
    assert list(view.workloads) == ["web"]
    assert view.workloads["web"].manifest == manifest()
    assert view.workloads["web"].refused
    assert not view.slots
    assert view_of(etcd).workloads["web"].manifest is None


# --- Hosts ----------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("etc/bedplate", "usr/lib"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "usr/lib/os-release").write_text('IMAGE_VERSION="2026.11.1"\n')
    (tmp_path / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    return tmp_path


def test_labels_are_the_documents_and_facts_which_nobody_overrides(root: Path) -> None:
    given_labels = {"disk": "ssd", "kubernetes.io/hostname": "liar"}
    (root / "etc/bedplate/labels.json").write_text(json.dumps(given_labels))
    labels = host_labels(root, "host-1")
    machine = labels.pop(MACHINE)
    assert labels.pop("kubernetes.io/arch") in {"amd64", "arm64"}
    assert labels == {
        "disk": "ssd",
        "kubernetes.io/hostname": "host-1",
        "kubernetes.io/os": "linux",
        "bedplate.internal/version": "2026.11.1",
    }
    assert "0123456789abcdef" not in machine
    (root / "etc/machine-id").write_text("1123456789abcdef0123456789abcdef\n")
    assert host_labels(root, "host-1")[MACHINE] != machine


def test_labels_that_are_none_are_refused(root: Path) -> None:
    for bad in ("[]", '{"a":1}', "x"):
        (root / "etc/bedplate/labels.json").write_text(bad)
        with pytest.raises(InputError, match=r"labels\.json"):
            host_labels(root, "host-1")


def test_a_host_says_where_its_api_listens(tmp_path: Path) -> None:
    assert port.listened_at(tmp_path) == port.PORT
    (tmp_path / "port").write_text("8443\n")
    record = host_record({}, [], [], api_port=port.listened_at(tmp_path))
    assert decode(HostRecord, encode(record)).api_port == 8443
    # One of a release that said nothing of it.
    assert decode(HostRecord, b'{"labels":{},"addresses":[],"accepts":true}').api_port == port.PORT


def test_a_host_says_why_it_takes_no_more() -> None:
    assert host_record({}, ["10.0.0.1"], []) == HostRecord({}, ("10.0.0.1",), accepts=True)
    odd = host_record({}, [], [], {"/bedplate/pods/odd": "x" * 10_000})
    assert decode(HostRecord, encode(odd)).refused == {"/bedplate/pods/odd": "x" * 500}
    full = host_record({}, [], ["draining", "/var is nearly full"])
    assert (full.accepts, full.why) == (False, "draining; /var is nearly full")
