# ruff: noqa: D102 (what overrides a method of Kind is documented there)
"""The kinds of value that manifests have besides those of every document."""

import base64
import binascii
import re
from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_address
from math import ceil

from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import Kind, Reading
from hostkit.document.source import Node, Scalar, ScalarKind, shown

# Kubernetes: "Quantity" in the API reference.
_QUANTITY = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:([A-Za-z]*)|[eE]([0-9]))")
_UNITS = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
} | {
    name: Fraction(base**power)
    for base, names in ((1000, "k M G T P E"), (1024, "Ki Mi Gi Ti Pi Ei"))
    for power, name in enumerate(names.split(), 1)
}
_OCTAL = re.compile(r"0o?[0-7]{1,4}")
_QUALIFIED = r"[A-Za-z0-9]([A-Za-z0-9_.\-]{0,61}[A-Za-z0-9])?"
_LABEL = r"[a-z0-9]([a-z0-9\-]{0,61}[a-z0-9])?"
LABEL_KEY = rf"(?=.{{1,317}}$)({_LABEL}(\.{_LABEL})*/)?{_QUALIFIED}"


class Flag(Kind):
    """True or false, without quotes."""

    @property
    def label(self) -> str:
        return "true or false"

    def read(self, node: Node, reading: Reading) -> bool:
        if not isinstance(node, Scalar) or node.kind is not ScalarKind.BOOLEAN:
            raise reading.fail(node.place, f"{_found(node)} is not true or false, without quotes")
        return node.text.lower() == "true"

    def json_schema(self) -> dict[str, object]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number within limits, without quotes."""

    low: int
    high: int

    @property
    def label(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    def read(self, node: Node, reading: Reading) -> int:
        number = isinstance(node, Scalar) and node.kind is ScalarKind.INTEGER
        if (
            not isinstance(node, Scalar)
            or not number
            or not self.low <= int(node.text) <= self.high
        ):
            raise reading.fail(node.place, f"{_found(node)} is not {self.label}")
        return int(node.text)

    def json_schema(self) -> dict[str, object]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class Quantity(Kind):
    """An amount, in whole parts of `unit`, rounded up: 1.5Gi, 500m."""

    what: str
    unit: str

    @property
    def label(self) -> str:
        return self.what

    def read(self, node: Node, reading: Reading) -> int:
        match = _QUANTITY.fullmatch(node.text) if isinstance(node, Scalar) else None
        if not match or (match[2] or "") not in _UNITS:
            raise reading.fail(node.place, f"{_found(node)} is not {self.what}")
        amount = Fraction(f"{match[1]}e{match[3] or 0}") * _UNITS[match[2] or ""]
        found = ceil(amount / _UNITS[self.unit])
        if not 0 < found < 1 << 62:
            raise reading.fail(node.place, f"{_found(node)} is not {self.what}")
        return found

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "number"]}

    def write(self, value: int) -> object:
        return f"{value}{self.unit}" if self.unit else value


class Port(Kind):
    """The number of a port, or the name of one of the container's."""

    @property
    def label(self) -> str:
        return "a port from 1 to 65535, or the name of a port"

    def read(self, node: Node, reading: Reading) -> int | str:
        if isinstance(node, Scalar) and node.kind is ScalarKind.TEXT:
            if re.fullmatch(_LABEL, node.text) and not node.text.isdigit():
                return node.text
            raise reading.fail(node.place, f"{_found(node)} is not {self.label}")
        return PORT.read(node, reading)

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "integer"]}


@dataclass(frozen=True, slots=True)
class Share:
    """A number of replicas, or a percentage of them."""

    number: int
    percent: bool

    def of(self, whole: int) -> int:
        """How many of `whole` that is, rounded down, at least 1."""
        return max(1, whole * self.number // 100 if self.percent else self.number)


class ShareKind(Kind):
    """A number from 1, or a percentage from 1% to 100%."""

    @property
    def label(self) -> str:
        return "a whole number from 1, or a percentage such as 25%"

    def read(self, node: Node, reading: Reading) -> Share:
        text = node.text if isinstance(node, Scalar) else ""
        match = re.fullmatch(r"([1-9][0-9]{0,5})(%)?", text)
        if not match or (match[2] and int(match[1]) > 100):
            raise reading.fail(node.place, f"{_found(node)} is not {self.label}")
        return Share(int(match[1]), bool(match[2]))

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "integer"]}

    def write(self, value: Share) -> object:
        return f"{value.number}%" if value.percent else value.number


class Permissions(Kind):
    """A file's permissions: 0644 in octal, or the number that Kubernetes' JSON has (420)."""

    @property
    def label(self) -> str:
        return "permissions from 0000 to 0777"

    def read(self, node: Node, reading: Reading) -> int:
        text = node.text if isinstance(node, Scalar) else ""
        if _OCTAL.fullmatch(text):
            mode = int(text.removeprefix("0o"), 8)
        elif re.fullmatch("[0-9]{1,3}", text):
            mode = int(text)
        else:
            mode = -1
        if not 0 <= mode <= 0o777:
            raise reading.fail(node.place, f"{_found(node)} is not {self.label}")
        return mode

    def json_schema(self) -> dict[str, object]:
        return {"type": ["string", "integer"]}


@dataclass(frozen=True, slots=True)
class Only(Kind):
    """Values that say what is so anyway; any other is not supported."""

    values: tuple[str, ...]
    instead: str

    @property
    def label(self) -> str:
        return "only " + " or ".join(f"`{value}`" for value in self.values)

    def read(self, node: Node, reading: Reading) -> str:
        if not isinstance(node, Scalar) or node.text not in self.values:
            message = f"{_found(node)} is not supported: {self.instead}"
            raise reading.fail(node.place, message)
        return node.text

    def json_schema(self) -> dict[str, object]:
        return {}


def from_base64(text: str) -> bytes:
    """The bytes of base64 text, in which lines may be broken; raises ValueError for others."""
    try:
        return base64.b64decode(re.sub(r"[\r\n]", "", text), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


class Base64(Kind):
    """Bytes in base64, as Secrets have them; no message shows them."""

    @property
    def label(self) -> str:
        return "bytes in base64"

    @property
    def secret(self) -> bool:
        return True

    def read(self, node: Node, reading: Reading) -> bytes:
        try:
            return from_base64(self.text(node, reading))
        except ValueError:
            message = "this is not base64; a Secret's stringData takes plain text"
            raise reading.fail(node.place, message) from None

    def json_schema(self) -> dict[str, object]:
        return {"type": "string", "contentEncoding": "base64"}


def _found(node: Node) -> str:
    if isinstance(node, Scalar):
        return shown(node.text) if node.text else "nothing"
    return "a list or a mapping"


def address(text: str) -> str:
    """An address, written as everybody writes it; raises ValueError for others."""
    if "%" in text:  # a zone, which is a host's own
        raise ValueError(text)
    return str(ip_address(text))


def absolute(text: str) -> str:
    """An absolute path without `..`; raises ValueError for others."""
    normal = text.startswith("/") and ".." not in text.split("/")
    if not normal or ":" in text or not text.isprintable() or len(text) > 4095:
        raise ValueError(text)
    return text


def relative(text: str) -> str:
    """A path within a folder; raises ValueError for others."""
    if not text or text.startswith("/"):
        raise ValueError(text)
    return absolute(f"/{text}")[1:]


FLAG = Flag()
PORT = Whole(1, 65535)
PORT_OR_NAME = Port()
ID = Whole(0, (1 << 31) - 1)  # of a user or a group
SECONDS = Whole(1, 86_400)
BYTES = Quantity("an amount of memory in bytes, such as 512Mi", "")
MILLICORES = Quantity("a number of cores, such as 500m or 1.5", "m")
SHARE = ShareKind()
PERMISSIONS = Permissions()
BASE64 = Base64()
ADDRESS = Parsed("an address", address)
PATH = Parsed("an absolute path without `..` and `:`", absolute)
SUB_PATH = Parsed("a path within the volume, without `..` and `:`", relative)
NAME = Text("a name such as web-1: at most 63 of a-z, 0-9 and -", _LABEL, limit=63)
PORT_NAME = Text(
    "a port's name: at most 15 of a-z, 0-9 and -", r"(?=.*[a-z])[a-z0-9]([a-z0-9\-]*[a-z0-9])?", 15
)
HOST_NAME = Text("a host's name", rf"{_LABEL}(\.{_LABEL})*", limit=253)
DATA_KEY = r"(?!\.\.?$)[A-Za-z0-9_.\-]{1,253}"  # of a ConfigMap or a Secret
KEY = Text("a key of A-Z, a-z, 0-9, _, . and -", DATA_KEY, limit=253)
FILE_NAME = Text("a file's name of A-Z, a-z, 0-9, _, . and -", DATA_KEY, limit=253)
VARIABLE = Text("a variable's name", r"[A-Za-z_.\-][A-Za-z0-9_.\-]*", limit=1024)
LABEL_VALUE = Text("a label's value", f"({_QUALIFIED})?", limit=63)
IMAGE = Text(
    "an image such as registry.example/web:1.2",
    r"[a-zA-Z0-9][a-zA-Z0-9._\-]*(:[0-9]{1,5})?(/[a-z0-9][a-z0-9._\-]*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127})?(@sha256:[0-9a-f]{64})?",
    limit=512,
)
LINE = Text("a line of text", r"[^\n\r]*", limit=4096)
# Podman 5.4 writes what it reads as YAML again, and cannot read these then, or reads another text.
_UNPLAYABLE = r"(?:\n|[ \t][^\n]*\n)"
_PLAYABLE = "a text that podman takes: of several lines, the first is not empty nor indented"
ARGUMENT = Text(_PLAYABLE, rf"(?!{_UNPLAYABLE})[\s\S]*", limit=131_072)
# Texts that no message shows, for there may be a password in them.
VALUE = Text(_PLAYABLE, ARGUMENT.pattern, limit=131_072, secret=True)
FILE = Text("a text", limit=1 << 20, secret=True)
