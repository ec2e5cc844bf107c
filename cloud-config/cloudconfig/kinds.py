# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""The kinds of value that a cloud-config holds besides those of every document."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import Kind, Part, Reading
from hostkit.document.source import Mapping, Node, Scalar, Sequence, shown

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_DURATION = re.compile(r"([0-9]{1,9})(ms|sec|s|min|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
WRITABLE = ("/etc", "/run", "/var", "/tmp")  # noqa: S108 - named for what a host may write
# What the host itself keeps, which nothing may cover.
_OWN = (
    *("/var/lib/bedplate/", "/var/log/journal/", "/run/bedplate/", "/run/bedplate-etc/"),
    *("/run/systemd/", "/run/udev/", "/run/dbus/", "/run/credentials/"),
)


class Boolean(Kind):
    """True or false in any of YAML 1.1's words, as people write them."""

    @property
    def label(self) -> str:
        return "true or false"

    def read(self, node: Node, reading: Reading) -> bool:
        text = self.text(node, reading).lower()
        if text not in _TRUE | _FALSE:
            raise reading.fail(node.place, f"{shown(text)} is not true or false")
        return text in _TRUE

    def json_schema(self) -> dict[str, object]:
        return {"enum": [True, False, "yes", "no", "on", "off", 0, 1, *sorted(_TRUE | _FALSE)]}


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number within limits."""

    low: int
    high: int

    @property
    def label(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, node: Node, reading: Reading) -> int:
        text = self.text(node, reading)
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not self.low <= int(text) <= self.high:
            raise reading.fail(node.place, f"{shown(text)} is not {self.label}")
        return int(text)

    def json_schema(self) -> dict[str, object]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Either(Kind):
    """A single value, a list or a mapping, whichever of the given kinds fits what stands there."""

    scalar: Kind | None = None
    sequence: Kind | None = None
    mapping: Kind | None = None

    @property
    def label(self) -> str:
        return " or ".join(kind.label for kind in self._kinds())

    def _kinds(self) -> list[Kind]:
        return [kind for kind in (self.scalar, self.sequence, self.mapping) if kind]

    def read(self, node: Node, reading: Reading) -> Any:  # noqa: ANN401 (of the kind that fits)
        kind = {Scalar: self.scalar, Sequence: self.sequence, Mapping: self.mapping}[type(node)]
        if kind is None:
            found = {Scalar: "a single value", Sequence: "a list", Mapping: "a mapping"}
            message = f"found {found[type(node)]}; expected {self.label}"
            raise reading.fail(node.place, message)
        return kind.read(node, reading)

    def json_schema(self) -> dict[str, object]:
        return {"anyOf": [kind.json_schema() for kind in self._kinds()]}

    def parts(self) -> tuple[Part, ...]:
        return tuple(Part(kind, "", ("anyOf", at)) for at, kind in enumerate(self._kinds()))

    @property
    def secret(self) -> bool:
        return any(kind.secret for kind in self._kinds())


def seconds(text: str) -> float:
    """A length of time: Go's "1h30m" and "500ms", systemd's "5min", or plain seconds.

    Raises:
        ValueError: it is none, or longer than a year.
    """
    position, total = 0, 0.0
    text = text.replace(" ", "")
    while position < len(text):
        match = _DURATION.match(text, position)
        if not match or (match[2] is None and match.group() != text):
            raise ValueError(text)
        total += int(match[1]) * _SECONDS[match[2] or "s"]
        position = match.end()
    if not text or total > 366 * 86400:
        raise ValueError(text)
    return total


def between(low: int, high: int) -> Parsed:
    """A length of time in whole seconds, within limits."""

    def read(text: str) -> float:
        found = seconds(text)
        if not low <= found <= high or found % 1:
            raise ValueError(text)
        return found

    return Parsed(f"a length of time such as 90s or 1h30m, from {low} s to {high} s", read)


def writable_path(text: str) -> PurePosixPath:
    """An absolute path that a host can write: the root is read-only.

    Raises:
        ValueError: relative, not normal, or not below `WRITABLE`.
    """
    path = PurePosixPath(text)
    normal = text.startswith("/") and ".." not in path.parts and "\n" not in text
    if not normal or not any(str(path).startswith(f"{top}/") for top in WRITABLE):
        raise ValueError(text)
    return path


def own_at(path: PurePosixPath) -> str | None:
    """Which of the host's own places would be lost if something else stood at `path`."""
    folder = f"{path}/"
    lost = (own for own in _OWN if folder.startswith(own) or own.startswith(folder))
    return next((own.rstrip("/") for own in lost), None)


BOOLEAN = Boolean()
DURATION = Parsed("a length of time such as 90s or 1h30m", seconds)
PATH = Parsed(
    f"an absolute path below {', '.join(WRITABLE[:-1])} or {WRITABLE[-1]}, which is what a host"
    " can write",
    writable_path,
)
TEXT = Text("text", limit=1 << 20)
SECRET = Text("text", limit=1 << 20, secret=True)
# No control characters but tabs: systemd ends a line at a carriage return, too.
_LINE = r"[^\x00-\x08\x0a-\x1f\x7f]*"
LINE = Text("one line of text", _LINE, limit=4096)
SECRET_LINE = Text("one line of text", _LINE, limit=4096, secret=True)
# hostname(7): labels of letters, digits and hyphens, joined by dots, 253 characters in all.
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
HOSTNAME = Text("a host's name such as web-1.example.org", rf"{_LABEL}(\.{_LABEL})*", limit=253)
# systemd's strict user names, https://systemd.io/USER_NAMES
ACCOUNT = Text("a user's or group's name such as web", r"[a-z_][a-z0-9_\-]{0,30}")
# URLs hold passwords and signatures.
URL = Text("an http or https URL", r"https?://[!-~]+", limit=2048, secret=True)
HTTPS = Text("an https URL", r"https://[!-~]+", limit=2048, secret=True)
_PORT = "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}"
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)"
BASE_URL = Text(
    "an http or https URL with a host, and without ? and #",
    rf"https?://([!$-.0->A-~]*@)?{_HOST}(:({_PORT}))?(/[!$->@-~]*)?",
    limit=2048,
    secret=True,
)
# As flannel and locksmith are told of etcd; whatever it is, there may be a password in it.
ENDPOINTS = Text("one line of text", _LINE, limit=4096, secret=True)
# URLs of etcd. Somebody may write a password into one; flannel takes a last comma, too.
_ORIGIN = rf"https?://{_HOST}(:({_PORT}))?/?"
ORIGIN = Text(
    "an http or https URL of a host such as https://10.0.0.1:2379",
    _ORIGIN,
    limit=2048,
    secret=True,
)
ORIGINS = Text(
    "http or https URLs of hosts such as https://10.0.0.1:2379, with commas between",
    rf"{_ORIGIN}( *, *{_ORIGIN})*,?",
    secret=True,
)
# Nothing that means more than a path to systemd (systemd.exec(5), "LoadCredential=").
FILE = Text("an absolute path", r"(?!.*/\.\.?(/|$))/[A-Za-z0-9._/@+\-]+", limit=1024)
SHA256 = Text("a SHA-256 in 64 hexadecimal digits", r"[0-9a-f]{64}")
# Of systemd.unit(5), "Description".
UNIT = Text(
    "a systemd unit's name such as web.service",
    r"[A-Za-z0-9:_.\\@\-]{1,240}\."
    r"(service|socket|target|timer|mount|automount|path|slice|swap)",
)
