"""A document that was read and rendered, kept for the next boot.

Reading one takes a small host seconds, most of them for importing what reads it, and what comes
of the same document on the same release is the same.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cloudconfig.desired import (
    Affects,
    Command,
    Desired,
    Fetched,
    File,
    Link,
    MakeFileSystem,
    Partition,
    Reaction,
    SwapFile,
)
from cloudconfig.places import Places
from cloudconfig.store import Input
from cloudconfig.verbs import UnitCommand
from updater.files import write_atomic

_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Compiled:
    """What a document asks for, and what there is to say about it."""

    desired: Desired
    accounts: tuple[str, ...] = ()
    proxies: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def key(given: Input, *facts: str) -> str:
    """What a compiled document depends on: all that was given, and facts of the machine."""
    parts = [
        *(given.digest, str(given.file), given.source, given.instance_id, given.hostname),
        *(hashlib.sha256(given.network or b"").hexdigest(), *given.public_keys),
        json.dumps(dict(given.variables), sort_keys=True),
        *facts,
    ]
    return hashlib.sha256(json.dumps([_SCHEMA, *parts]).encode()).hexdigest()


def load(wanted: str, places: Places) -> Compiled | None:
    """The compiled document of this key; None if another one is kept, or none, or a torn one."""
    try:
        found = json.loads(_path(places).read_bytes())
        if found["key"] != wanted:
            return None
        return Compiled(
            desired=Desired(
                items=tuple(map(_item, found["items"])),
                commands=tuple(
                    Command(unit, UnitCommand(verb)) for unit, verb in found["commands"]
                ),
                partitions=tuple(map(_partition, found["partitions"])),
                file_systems=tuple(MakeFileSystem(**each) for each in found["file_systems"]),
                swap=_swap(found["swap"]),
                message=found["message"],
            ),
            accounts=tuple(found["accounts"]),
            proxies=found["proxies"],
            warnings=tuple(found["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def save(wanted: str, compiled: Compiled, places: Places) -> None:
    """Keep it, unless it asks for what comes once in an instance's life anyway."""
    desired = compiled.desired
    if desired.power or desired.phone_home:
        return
    document = {
        "key": wanted,
        "items": [_plain(item) for item in desired.items],
        "commands": [(each.unit, each.verb.value) for each in desired.commands],
        "partitions": [asdict(each) for each in desired.partitions],
        "file_systems": [asdict(each) for each in desired.file_systems],
        "swap": desired.swap and {"path": str(desired.swap.path), "size": desired.swap.size},
        "message": desired.message,
        "accounts": compiled.accounts,
        "proxies": dict(compiled.proxies),
        "warnings": compiled.warnings,
    }
    path = _path(places)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # It holds what the document holds, secrets too.
    write_atomic(path, json.dumps(document).encode(), mode=0o600)


def _path(places: Places) -> Path:
    return places.state / "compiled.json"


def _partition(plain: dict[str, Any]) -> Partition:
    from cloudconfig.model.storage import Share  # noqa: PLC0415 - the model is slow to import

    return Partition(**plain | {"shares": tuple(Share(**share) for share in plain["shares"])})


def _swap(plain: dict[str, Any] | None) -> SwapFile | None:
    return SwapFile(PurePosixPath(plain["path"]), plain["size"]) if plain else None


def _plain(item: File | Link | Fetched) -> dict[str, Any]:
    plain = asdict(item) | {"kind": type(item).__name__, "path": str(item.path)}
    plain["affects"] = [(each.unit, each.reaction.value) for each in item.affects]
    if isinstance(item, File):
        plain["content"] = base64.b64encode(item.content).decode()
    return plain


def _item(plain: dict[str, Any]) -> File | Link | Fetched:
    kind = {each.__name__: each for each in (File, Link, Fetched)}[plain.pop("kind")]
    plain["path"] = PurePosixPath(plain["path"])
    plain["affects"] = tuple(Affects(unit, Reaction(word)) for unit, word in plain["affects"])
    if kind is File:
        plain["content"] = base64.b64decode(plain["content"])
    if kind is Fetched:
        plain["headers"] = tuple((name, value) for name, value in plain["headers"])
    made: File | Link | Fetched = kind(**plain)
    return made
