"""The reboot lock as it stands in etcd: a semaphore a group, and a record a holder. Pure.

Keys and the semaphore's JSON are locksmith's, as Flatcar's keeps them in etcd v3 (its lock/etcd.go
and lock/semaphore.go), so that `locksmithctl status|unlock|set-max` and hosts that run it take part
in the same lock:

    coreos.com/updateengine/rebootlock/semaphore             {"semaphore":0,"max":1,"holders":[ID]}
    coreos.com/updateengine/rebootlock/groups/G/semaphore    likewise, of the group G
    .../holders/ID                       {"machineID":ID,"startTime":1397496396,"hostname":...}

The record of a holder is from locksmith's first design, which only told of it: it says since when.
Locksmith passes over it; a record whose host is not among `holders` means nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import quote_plus, unquote_plus

from updater.errors import BedplateError

ROOT = "coreos.com/updateengine/rebootlock/"
MOST = 100_000  # hosts that may hold one lock
_GROUPS = f"{ROOT}groups/"
_SEMAPHORE, _HOLDERS = "semaphore", "holders/"
_LONGEST_NAME = 253  # characters of a host's name


class SemaphoreError(BedplateError):
    """What is in etcd is no reboot lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lock: a machine id (machine-id(5)) and, where they are known, the rest.

    `since` is in Unix seconds, `version` the release that the host reboots into.
    """

    id: str
    since: int | None = None
    hostname: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return self.hostname or self.id


@dataclass(frozen=True, slots=True)
class Semaphore:
    """How many hosts may hold the lock at once, and which do; `holders` is in order."""

    max: int = 1
    holders: tuple[str, ...] = ()

    @property
    def available(self) -> int:
        """How many more may take it; below zero where `max` was lowered meanwhile."""
        return self.max - len(self.holders)

    def taken_by(self, holder: str) -> "Semaphore":
        """With this holder too, if there is room; who holds it already goes on holding it."""
        if holder in self.holders or self.available <= 0:
            return self
        # Locksmith looks for a holder by bisection.
        return replace(self, holders=tuple(sorted((*self.holders, holder))))

    def without(self, holder: str) -> "Semaphore":
        """Without this holder."""
        return replace(self, holders=tuple(each for each in self.holders if each != holder))


# --- Keys -----------------------------------------------------------------------------------------


def folder(group: str) -> str:
    """What the keys of a group begin with; "" is the group of who names none.

    Locksmith escapes a group's name with Go's url.QueryEscape, which is `quote_plus` here.
    """
    return f"{_GROUPS}{quote_plus(group)}/" if group else ROOT


def semaphore_key(group: str) -> str:
    """Where a group's semaphore is."""
    return folder(group) + _SEMAPHORE


def record_key(group: str, holder: str) -> str:
    """Where a holder's record is."""
    return f"{folder(group)}{_HOLDERS}{quote_plus(holder)}"


def group_of(key: str) -> str | None:
    """The group whose semaphore a key holds; None if it is another key."""
    if key == ROOT + _SEMAPHORE:
        return ""
    name, slash, rest = key.removeprefix(_GROUPS).partition("/")
    if key.startswith(_GROUPS) and slash and name and rest == _SEMAPHORE:
        return unquote_plus(name)
    return None


# --- Values ---------------------------------------------------------------------------------------


def encode(semaphore: Semaphore) -> bytes:
    """The semaphore as locksmith reads it."""
    document = {
        "semaphore": semaphore.available,
        "max": semaphore.max,
        "holders": list(semaphore.holders),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode(value: bytes, key: str) -> Semaphore:
    """The reverse; what others add to it is passed over.

    How many are left follows from `max` and `holders`, whatever the value says of it.

    Raises:
        SemaphoreError: it is none.
    """
    document = _object(value)
    number, holders = document.get("max"), document.get("holders", [])
    # Locksmith's own first value has null for nobody.
    listed = [] if holders is None else holders
    if type(number) is not int or not 0 <= number <= MOST:
        raise _broken(key, f"max is no number from 0 to {MOST}")
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _broken(key, "holders is no list of texts")
    return Semaphore(number, tuple(sorted(set(listed))))


def encode_record(holder: Holder) -> bytes:
    """A holder's record."""
    document = {
        "machineID": holder.id,
        "startTime": holder.since,
        "hostname": holder.hostname,
        "version": holder.version,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode_record(value: bytes | None, holder: str) -> Holder:
    """What a record tells of a holder; a broken one tells nothing: the semaphore is what counts."""
    document = _object(value or b"")
    since = document.get("startTime")
    return Holder(
        holder,
        since if type(since) is int and 0 <= since < 1 << 33 else None,
        _word(document.get("hostname")),
        _word(document.get("version")),
    )


def _word(found: object) -> str:
    usable = isinstance(found, str) and len(found) <= _LONGEST_NAME and found.isprintable()
    return str(found) if usable else ""


def _object(value: bytes) -> Mapping[str, object]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _broken(key: str, why: str) -> SemaphoreError:
    return SemaphoreError(
        f"etcd: {key} is no reboot lock: {why}; mend the key, or delete it when no host is"
        " rebooting"
    )
