"""The JSON form of etcd's gateway, to and from the types of values.py. Pure.

Keys and values are in base64, 64-bit integers are strings, and what is zero, empty or false is left
out (protobuf's JSON mapping; etcd's api_grpc_gateway). Keys are bytes to etcd: those that are no
UTF-8 are carried as Python carries file names.
"""

import binascii
import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from hostkit.etcd.values import (
    Change,
    Compare,
    Delete,
    Get,
    Granted,
    KeyValue,
    List,
    Message,
    Operation,
    Outcome,
    Put,
    Snapshot,
)

Json: TypeAlias = dict[str, object]

_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_ALL_KEYS = b"\0"


class AnswerError(ValueError):
    """An answer is not one that etcd gives."""


# --- To JSON --------------------------------------------------------------------------------------


def key_bytes(key: str) -> bytes:
    """A key as etcd has it."""
    return key.encode("utf-8", "surrogateescape")


def range_end(prefix: bytes) -> bytes:
    """The key after the last one that starts with `prefix` (etcd's rule for prefixes)."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else _ALL_KEYS


def key_json(key: str) -> Json:
    """Just this key."""
    return {"key": _base64(key_bytes(key))}


def prefix_json(prefix: str, *, start: bytes | None = None) -> Json:
    """All keys that start so; from `start` on, if given."""
    first = key_bytes(prefix)
    end = range_end(first)
    return {"key": _base64(start or first or _ALL_KEYS), "range_end": _base64(end)}


def put_json(put: Put) -> Json:
    """A write."""
    return {**key_json(put.key), "value": _base64(put.value), "lease": str(put.lease)}


def transaction_json(
    compare: Iterable[Compare], then: Iterable[Operation], otherwise: Iterable[Operation]
) -> Json:
    """A transaction: all of `compare` hold, and `then` is done; else `otherwise` is."""
    return {
        "compare": [_compare_json(each) for each in compare],
        "success": [_operation_json(each) for each in then],
        "failure": [_operation_json(each) for each in otherwise],
    }


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _compare_json(compare: Compare) -> Json:
    return {
        **key_json(compare.key),
        "target": compare.target.name,
        "result": compare.relation.value,
        compare.target.value: str(compare.number),
    }


def _operation_json(operation: Operation) -> Json:
    match operation:
        case Put():
            return {"request_put": put_json(operation)}
        case Delete(key):
            return {"request_delete_range": key_json(key)}
        case Get(key):
            return {"request_range": key_json(key)}
        case List(prefix):
            return {"request_range": prefix_json(prefix)}


# --- From JSON; all of these raise AnswerError ----------------------------------------------------


def parse_object(data: bytes) -> Json:
    """An object, from bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AnswerError(f"no JSON: {type(error).__name__}") from error
    return _mapping(document)


def member(document: Mapping[str, object], key: str) -> Json:
    """An object in an object; left out, it is empty."""
    return _mapping(document.get(key, {}))


def members(document: Mapping[str, object], key: str) -> Sequence[Json]:
    """A list of objects in an object; left out, it is empty."""
    found = document.get(key, [])
    if not isinstance(found, list):
        raise AnswerError(f"{key} is no list")
    return [_mapping(each) for each in found]


def integer(document: Mapping[str, object], key: str) -> int:
    """A 64-bit integer, as a string or as a number; left out, it is 0."""
    found = document.get(key, 0)
    if isinstance(found, str) and _INTEGER.fullmatch(found):
        found = int(found)
    # JSON's true is an int to Python.
    if type(found) is not int or not -(2**63) <= found < 2**63:
        raise AnswerError(f"{key} is no integer")
    return found


def flag(document: Mapping[str, object], key: str) -> bool:
    """A truth; left out, it is false."""
    found = document.get(key, False)
    if not isinstance(found, bool):
        raise AnswerError(f"{key} is neither true nor false")
    return found


def text(document: Mapping[str, object], key: str) -> str:
    """A string; left out, it is empty."""
    found = document.get(key, "")
    if not isinstance(found, str):
        raise AnswerError(f"{key} is no string")
    return found


def header_revision(document: Mapping[str, object]) -> int:
    """The store's revision in an answer's header."""
    found = integer(member(document, "header"), "revision")
    if found < 1:
        raise AnswerError("there is no revision in its header")
    return found


def key_value(document: Json) -> KeyValue:
    """A key with all that etcd knows of it."""
    return KeyValue(
        key=_bytes(document, "key").decode("utf-8", "surrogateescape"),
        value=_bytes(document, "value"),
        create_revision=integer(document, "create_revision"),
        mod_revision=integer(document, "mod_revision"),
        version=integer(document, "version"),
        lease=integer(document, "lease"),
    )


def watch_message(answer: Json) -> Message:
    """One message of a watch, out of its envelope."""
    body = member(answer, "result")
    changes = tuple(map(change, members(body, "events")))
    store = integer(member(body, "header"), "revision")
    canceled = flag(body, "canceled")
    if changes:
        # A member that catches up sends less than it has.
        reached = max(each.revision for each in changes)
    else:
        reached = 0 if canceled or flag(body, "created") else store
    return Message(
        changes,
        reached,
        store,
        canceled,
        compacted=integer(body, "compact_revision"),
        reason=text(body, "cancel_reason"),
    )


def snapshot(answer: Json) -> Snapshot:
    """The answer to a read."""
    return Snapshot(header_revision(answer), tuple(map(key_value, members(answer, "kvs"))))


def outcome(answer: Json) -> Outcome:
    """The answer to a transaction."""
    reads = (member(each, "response_range") for each in members(answer, "responses"))
    return Outcome(
        succeeded=flag(answer, "succeeded"),
        revision=header_revision(answer),
        items=tuple(snapshot(each) for each in reads if each),
    )


def change(event: Json) -> Change:
    """One event of a watch."""
    kind = text(event, "type") or "PUT"
    if kind not in {"PUT", "DELETE"}:
        raise AnswerError(f"an event of the unknown type {kind[:20]!r}")
    found = key_value(member(event, "kv"))
    if found.mod_revision < 1:
        raise AnswerError("an event without a revision")
    value = None if kind == "DELETE" else found.value
    return Change(found.key, value, found.mod_revision, found.lease)


def granted(answer: Json) -> Granted:
    """The answer to a grant."""
    found = Granted(integer(answer, "ID"), integer(answer, "TTL"))
    if found.id == 0 or found.seconds < 1:
        raise AnswerError("a grant without a lease")
    return found


def _mapping(document: object) -> Json:
    if not isinstance(document, dict):
        raise AnswerError("no JSON object where one belongs")
    return document


def _bytes(document: Mapping[str, object], key: str) -> bytes:
    try:
        return b64decode(text(document, key), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AnswerError(f"{key} is no base64") from error
