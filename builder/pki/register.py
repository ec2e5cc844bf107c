"""What a folder of certificates knows: authorities, what they issued, tokens. Pure.

The register is the one truth of the folder: it is written whole, and every other file but the keys
can be made from it.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from typing import TypeVar

from builder.pki.certificate import Kind
from builder.pki.errors import PkiError, PkiInputError
from updater.strict import Fields, FormatError, render_json, render_time

SCHEMA = 1
MAXIMUM = 256 << 20  # bytes
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._@\-]{0,62}[A-Za-z0-9])?")
_RESERVED = re.compile(r"ca(-[0-9a-f]{8})?|crl|register", re.IGNORECASE)
_KEPT = timedelta(days=30)  # what has ended is shown for so long
T = TypeVar("T")


class Stage(Enum):
    """Where an authority is in its life; see `bedplate pki rotate`."""

    NEXT = "next"  # hosts learn to trust it
    ISSUING = "issuing"
    FORMER = "former"  # still trusted, for what it issued
    RETIRED = "retired"  # trusted no more


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority; `ident` is in its files' names, `list_ends` is when its list has to be new."""

    ident: str
    stage: Stage
    certificate: str = field(repr=False)  # PEM
    revocation_list: str = field(repr=False)  # PEM
    list_number: int
    list_ends: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Issued:
    """One certificate; `addresses` are those that a person gave.

    `filed` ones are in the folder, with their key; others are on the host that enrolled.
    """

    name: str
    kind: Kind
    serial: int
    authority: str
    start: datetime
    ends: datetime
    addresses: tuple[str, ...]
    filed: bool
    certificate: str = field(repr=False)  # PEM
    revoked: datetime | None = None

    def is_due(self, now: datetime) -> bool:
        """Whether less than a third of its life is left."""
        return now >= self.ends - (self.ends - self.start) / 3

    def holds(self, now: datetime) -> bool:
        """Whether it is neither revoked nor past its end."""
        return self.revoked is None and now < self.ends


@dataclass(frozen=True, slots=True)
class Token:
    """A bootstrap token, known by its SHA-256 only; `used_by` is the digest of a public key."""

    digest: str
    name: str
    addresses: tuple[str, ...]
    ends: datetime
    used_by: str | None = None


@dataclass(frozen=True, slots=True)
class Register:
    """All of it; `issued` is in the order of time."""

    authorities: tuple[Authority, ...]
    issued: tuple[Issued, ...] = ()
    tokens: tuple[Token, ...] = ()

    def issuing(self) -> Authority:
        """The authority that signs what is new."""
        return next(each for each in self.authorities if each.stage is Stage.ISSUING)

    def trusted(self) -> tuple[Authority, ...]:
        """Those that hosts and people are to trust, the one that signs first."""
        order = (Stage.ISSUING, Stage.NEXT, Stage.FORMER)
        return tuple(each for stage in order for each in self.authorities if each.stage is stage)

    def authority(self, ident: str) -> Authority:
        """One by its name in files."""
        return next(each for each in self.authorities if each.ident == ident)

    def latest(self, name: str) -> Issued | None:
        """The newest certificate of a name, revoked or not."""
        return next((each for each in reversed(self.issued) if each.name == name), None)

    def current(self) -> tuple[Issued, ...]:
        """The newest of each name, by name."""
        newest = {each.name: each for each in self.issued}
        return tuple(newest[name] for name in sorted(newest))


def check_name(name: str) -> str:
    """A name that may be a subject's (64 characters, RFC 5280, A.1) and a file's.

    Raises:
        PkiInputError: it is none.
    """
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise PkiInputError(
            f"{name[:80]!r} is no name here: expected 1 to 64 letters, digits and . _ @ -, a letter"
            " or digit at both ends, and neither ca, crl nor register"
        )
    return name


def cleared(register: Register, now: datetime) -> Register:
    """Without certificates that ended long ago, but for the newest of each name, and old tokens."""
    newest = {each.serial for each in register.current()}
    return Register(
        authorities=register.authorities,
        issued=tuple(
            each for each in register.issued if each.serial in newest or now < each.ends + _KEPT
        ),
        tokens=tuple(each for each in register.tokens if now < each.ends + _KEPT),
    )


# --- As a file ------------------------------------------------------------------------------------

_AUTHORITY = ("ident", "stage", "certificate", "list", "list_number", "list_ends", "ends")
_ISSUED = (
    *("name", "role", "serial", "authority", "start", "ends", "addresses", "filed"),
    *("certificate", "revoked"),
)
_TOKEN = ("digest", "name", "addresses", "ends", "used_by")
_ANYTHING = r"(?s:.+)"


def render(register: Register) -> bytes:
    """The register as JSON."""
    return render_json(
        {
            "schema": SCHEMA,
            "authorities": [
                {
                    "ident": each.ident,
                    "stage": each.stage.value,
                    "certificate": each.certificate,
                    "list": each.revocation_list,
                    "list_number": each.list_number,
                    "list_ends": render_time(each.list_ends),
                    "ends": render_time(each.ends),
                }
                for each in register.authorities
            ],
            "issued": [
                {
                    "name": each.name,
                    "role": each.kind.value,
                    "serial": f"{each.serial:X}",
                    "authority": each.authority,
                    "start": render_time(each.start),
                    "ends": render_time(each.ends),
                    "addresses": list(each.addresses),
                    "filed": each.filed,
                    "certificate": each.certificate,
                    "revoked": each.revoked and render_time(each.revoked),
                }
                for each in register.issued
            ],
            "tokens": [
                {
                    "digest": each.digest,
                    "name": each.name,
                    "addresses": list(each.addresses),
                    "ends": render_time(each.ends),
                    "used_by": each.used_by,
                }
                for each in register.tokens
            ],
        }
    )


def parse(data: bytes, where: str) -> Register:
    """Read what `render` wrote.

    Raises:
        PkiError: somebody else wrote it.
    """
    try:
        fields = Fields.parse(data, where, ("schema", "authorities", "issued", "tokens"), MAXIMUM)
        fields.integer("schema", SCHEMA, SCHEMA)
        most = 1 << 20
        found = Register(
            tuple(map(_authority, fields.items("authorities", _AUTHORITY, 1, most))),
            tuple(map(_issued, fields.items("issued", _ISSUED, 0, most))),
            tuple(map(_token, fields.items("tokens", _TOKEN, 0, most))),
        )
        if [each.stage for each in found.authorities].count(Stage.ISSUING) != 1:
            raise fields.error("authorities", "one that is issuing")
    except (FormatError, ValueError) as error:
        raise PkiError(f"{error}; bring the file back from a copy") from error
    return found


def _authority(fields: Fields) -> Authority:
    return Authority(
        ident=fields.text("ident", "[0-9a-f]{8}", "8 hexadecimal digits"),
        stage=Stage(fields.values["stage"]),
        certificate=fields.text("certificate", _ANYTHING, "PEM"),
        revocation_list=fields.text("list", _ANYTHING, "PEM"),
        list_number=fields.integer("list_number", 1, 1 << 62),
        list_ends=fields.time("list_ends"),
        ends=fields.time("ends"),
    )


def _issued(fields: Fields) -> Issued:
    return Issued(
        name=fields.text("name", _NAME.pattern, "a name"),
        kind=Kind(fields.values["role"]),
        serial=int(fields.text("serial", "[0-9A-F]{1,40}", "a serial number"), 16),
        authority=fields.text("authority", "[0-9a-f]{8}", "8 hexadecimal digits"),
        start=fields.time("start"),
        ends=fields.time("ends"),
        addresses=_texts(fields, "addresses"),
        filed=fields.values["filed"] is True,
        certificate=fields.text("certificate", _ANYTHING, "PEM"),
        revoked=_optional(fields, "revoked", fields.time),
    )


def _token(fields: Fields) -> Token:
    return Token(
        digest=fields.text("digest", "[0-9a-f]{64}", "a SHA-256"),
        name=fields.text("name", _NAME.pattern, "a name"),
        addresses=_texts(fields, "addresses"),
        ends=fields.time("ends"),
        used_by=_optional(fields, "used_by", lambda key: fields.text(key, "[0-9a-f]{64}", "hex")),
    )


def _texts(fields: Fields, key: str) -> tuple[str, ...]:
    value = fields.values[key]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise fields.error(key, "a list of texts")
    return tuple(value)


def _optional(fields: Fields, key: str, read: Callable[[str], T]) -> T | None:
    return None if fields.values[key] is None else read(key)
