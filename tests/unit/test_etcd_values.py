import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostkit.etcd import Access, Change, Compare, Delete, Get, KeyValue, List, Put, Snapshot
from hostkit.etcd.gateway import (
    AnswerError,
    Json,
    change,
    key_bytes,
    outcome,
    parse_object,
    prefix_json,
    range_end,
    snapshot,
    transaction_json,
    watch_message,
)

NUMBERS = st.integers(0, 2**63 - 1)
KEYS = st.binary(max_size=8).map(lambda key: key.decode("utf-8", "surrogateescape"))
KEY_VALUES = st.builds(
    KeyValue,
    key=KEYS,
    value=st.binary(max_size=8),
    create_revision=NUMBERS,
    mod_revision=NUMBERS,
    version=NUMBERS,
    lease=NUMBERS,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("header", "revision", "kvs", "key", "value", "result", "events", "kv"))
            | st.sampled_from(("responses", "response_range", "succeeded", "mod_revision", "type")),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def as_etcd(item: KeyValue) -> Json:
    """A key as etcd writes it: what is zero or empty is left out."""
    everything = {
        "key": base64(key_bytes(item.key)),
        "value": base64(item.value),
        **{
            name: str(getattr(item, name))
            for name in ("create_revision", "mod_revision", "version", "lease")
        },
    }
    return {name: value for name, value in everything.items() if value not in {"", "0"}}


def read(document: Json) -> Json:
    return parse_object(json.dumps(document).encode())


@given(st.lists(KEY_VALUES, max_size=3), st.integers(1, 2**63 - 1))
def test_what_etcd_reads_out_comes_back(items: list[KeyValue], revision: int) -> None:
    answer: Json = {"header": {"revision": str(revision)}, "kvs": [as_etcd(each) for each in items]}
    expected = Snapshot(revision, tuple(items))
    assert snapshot(read(answer)) == expected
    done = outcome(
        read(
            {
                "header": {"revision": str(revision)},
                "responses": [{"response_put": {}}, {"response_range": answer}],
            }
        )
    )
    assert (done.succeeded, done.items) == (False, (expected,))


@given(st.lists(st.tuples(KEY_VALUES, st.booleans()), max_size=3), NUMBERS)
def test_events_come_back(items: list[tuple[KeyValue, bool]], store: int) -> None:
    known = [(item, gone) for item, gone in items if item.mod_revision]
    events = [{"kv": as_etcd(item), **({"type": "DELETE"} if gone else {})} for item, gone in known]
    message = watch_message(
        read({"result": {"header": {"revision": str(store)}, "events": events}})
    )
    assert message.changes == tuple(
        Change(item.key, None if gone else item.value, item.mod_revision, item.lease)
        for item, gone in known
    )
    # Progress is what was told, and not what the member knows.
    newest = max((item.mod_revision for item, _ in known), default=store)
    assert (message.reached, message.store) == (newest, store)


@given(st.binary(max_size=4), st.binary(max_size=6))
def test_a_prefix_takes_in_just_what_starts_so(prefix: bytes, key: bytes) -> None:
    end = range_end(prefix)
    inside = key >= prefix and (end == b"\0" or key < end)
    assert inside == key.startswith(prefix)


def test_an_empty_prefix_is_every_key() -> None:
    # etcd refuses an empty key.
    assert prefix_json("") == {"key": base64(b"\0"), "range_end": base64(b"\0")}


def test_a_transaction_is_written_as_etcd_reads_it() -> None:
    compare = [
        Compare.absent("a"),
        Compare.present("a"),
        Compare.mod_revision("a", 7),
        Compare.lease("a", 8),
    ]
    key = {"key": "YQ=="}
    assert transaction_json(compare, [Put("a", b"b", 9), Get("a")], [Delete("a"), List("a")]) == {
        "compare": [
            {**key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"},
            {**key, "target": "CREATE", "result": "GREATER", "create_revision": "0"},
            {**key, "target": "MOD", "result": "EQUAL", "mod_revision": "7"},
            {**key, "target": "LEASE", "result": "EQUAL", "lease": "8"},
        ],
        "success": [
            {"request_put": {**key, "value": "Yg==", "lease": "9"}},
            {"request_range": key},
        ],
        "failure": [
            {"request_delete_range": key},
            {"request_range": {**key, "range_end": "Yg=="}},
        ],
    }


@given(JSON)
def test_any_other_json_is_an_answer_or_an_answer_error(document: object) -> None:
    for parse in (snapshot, outcome, watch_message, change):
        try:
            parse(parse_object(json.dumps(document).encode()))
        except AnswerError as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("number", ["1e3", " 1", "1_0", "\u0661", "9" * 19, 2**63, 1.0, True, None])
def test_only_integers_of_64_bits_are_integers(number: object) -> None:
    with pytest.raises(AnswerError, match="revision is no integer"):
        snapshot({"header": {"revision": number}})


def test_a_password_does_not_show() -> None:
    assert "secret" not in repr(Access((), username="u", password="secret"))  # noqa: S106
