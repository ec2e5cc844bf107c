"""What can be asked of a host: every endpoint, its parameters and who may call it.

One table that the server, root's side of it, the workstation and the OpenAPI document are made
from, so that none of them knows an endpoint that another does not.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

from updater.errors import InputError
from updater.version import CHANNEL_PATTERN

VERSION = "v1"
SCHEMA = 1
MAXIMUM_BODY = 1 << 20  # bytes; a document of a host's whole configuration fits
MAXIMUM_TEXT = 256  # characters of one parameter
Value = str | int | bool


class Role(enum.Enum):
    """Who a client is: the organisation (O) of its certificate's subject."""

    READER = "bedplate:reader"
    OPERATOR = "bedplate:operator"


class Answer(enum.Enum):
    """What comes back; the value is its media type."""

    JSON = "application/json"
    # A JSON object a line: a stream that may go on for as long as the client follows.
    LINES = "application/x-ndjson"
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    BYTES = "application/octet-stream"


class Kind(enum.Enum):
    """The type of a parameter; the value is OpenAPI's word."""

    TEXT = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a client gives; a text matches `pattern` whole, a number lies in `bounds`."""

    name: str
    text: str
    kind: Kind = Kind.TEXT
    pattern: str = ".{1,256}"
    bounds: tuple[int, int] = (0, 0)
    required: bool = False

    def read(self, raw: object) -> Value:
        """The value, from a query's text or from JSON.

        Raises:
            InputError: it is none of this kind.
        """
        match self.kind:
            case Kind.TEXT:
                if (
                    isinstance(raw, str)
                    and len(raw) <= MAXIMUM_TEXT
                    and re.fullmatch(self.pattern, raw, re.ASCII)
                ):
                    return raw
                expected = f"a text that matches {self.pattern}"
            case Kind.INTEGER:
                low, high = self.bounds
                if isinstance(raw, int) and not isinstance(raw, bool) and low <= raw <= high:
                    return raw
                if (
                    isinstance(raw, str)
                    and re.fullmatch("-?[0-9]{1,9}", raw, re.ASCII)
                    and low <= int(raw) <= high
                ):
                    return int(raw)
                expected = f"a number from {low} to {high}"
            case Kind.BOOLEAN:
                words = {"true": True, "false": False, "1": True, "0": False}
                if isinstance(raw, bool):
                    return raw
                if isinstance(raw, str) and raw in words:
                    return words[raw]
                expected = "true or false"
        raise InputError(f"{self.name}: expected {expected}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked for.

    `act` says that root's side does it (`hostapi.acts`); all else is read by the server itself.
    `fields` come as a JSON object in the body, `document` as the body's text; `parameters` in the
    path, where the path has their names in braces, or else in the query.
    """

    name: str
    method: str
    path: str
    text: str
    answer: Answer = Answer.JSON
    role: Role = Role.READER
    parameters: tuple[Parameter, ...] = ()
    fields: tuple[Parameter, ...] = ()
    document: bool = False
    act: bool = False


_UNIT = r"[A-Za-z0-9@:_.\\\-]{1,255}"
_NAME = r"[a-z0-9]([a-z0-9.\-]{0,61}[a-z0-9])?"
_FILE = r"[A-Za-z0-9_][A-Za-z0-9_.@+:\-]{0,200}"
_PRIORITIES = "emerg|alert|crit|err|warning|notice|info|debug|[0-7]"
_SINCE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(\.[0-9]{1,6})?(Z|[+\-][0-9:]{5})|[0-9]{1,8}[smhd]"
# Printable ASCII but for "#" and "?".
_URL = r'https?://[!"$->@-~]+'

_FOLLOW = Parameter("follow", "Go on with what comes.", Kind.BOOLEAN)
_LINES = Parameter("lines", "Only the last so many.", Kind.INTEGER, bounds=(0, 1_000_000))
_EXTENSION = Parameter("name", "The extension's name.", pattern=_NAME, required=True)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("status", "GET", "/status", "What runs here and how it is: one object an agent."),
    Endpoint("metrics", "GET", "/metrics", "Prometheus' text of every agent.", Answer.TEXT),
    Endpoint(
        "logs",
        "GET",
        "/logs",
        "The journal.",
        Answer.LINES,
        parameters=(
            Parameter("unit", "Of one unit.", pattern=_UNIT),
            Parameter("pod", "Of the containers of one pod.", pattern=_NAME),
            Parameter("container", "Of one container of the pod.", pattern=_NAME),
            Parameter("since", "From then on: RFC 3339, or an age such as 15m.", pattern=_SINCE),
            Parameter("priority", "As grave as this or graver.", pattern=_PRIORITIES),
            Parameter("boot", "0 is this boot, -1 the one before.", Kind.INTEGER, bounds=(-99, 0)),
            _LINES,
            _FOLLOW,
        ),
    ),
    Endpoint("boots", "GET", "/boots", "The boots that the journal knows."),
    Endpoint("timings", "GET", "/timings", "How long each step of this boot took."),
    Endpoint("pods", "GET", "/pods", "The pods of this host."),
    Endpoint("overlay", "GET", "/overlay", "The lease of this host, and its peers."),
    Endpoint(
        "update", "GET", "/update", "The update: what it waits for, and its history.", act=True
    ),
    Endpoint("trust", "GET", "/trust", "The TUF metadata that this host trusts.", act=True),
    Endpoint(
        "config", "GET", "/config", "The document in force, secrets cut out; its status.", act=True
    ),
    Endpoint(
        "config-plan",
        "POST",
        "/config/plan",
        "What a new document would change.",
        role=Role.OPERATOR,
        document=True,
        act=True,
    ),
    Endpoint(
        "extensions",
        "GET",
        "/extensions",
        "The system extensions, and why one is refused.",
        act=True,
    ),
    Endpoint("crashes", "GET", "/crashes", "Kernel crashes and core dumps that are kept."),
    Endpoint(
        "crash",
        "GET",
        "/crashes/{name}",
        "One of them, whole.",
        Answer.BYTES,
        Role.OPERATOR,
        parameters=(Parameter("name", "Its name.", pattern=_FILE, required=True),),
        act=True,
    ),
    Endpoint(
        "check",
        "POST",
        "/update/check",
        "Look for a release now; change nothing.",
        role=Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "stage",
        "POST",
        "/update/stage",
        "Stage the release that is due; no reboot.",
        Answer.LINES,
        Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "rollback",
        "POST",
        "/update/rollback",
        "Reject the running release, and reboot into the other one.",
        role=Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "override",
        "PUT",
        "/update/override",
        "Another channel or strategy until the next boot; then the configuration's hold again.",
        role=Role.OPERATOR,
        fields=(
            Parameter("channel", "Which releases.", pattern=CHANNEL_PATTERN),
            Parameter("strategy", "When they take over.", pattern="off|reboot|window|etcd-lock"),
        ),
        act=True,
    ),
    Endpoint(
        "override-end",
        "DELETE",
        "/update/override",
        "What the configuration says, at once.",
        role=Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "reboot",
        "POST",
        "/reboot",
        "Drain the pods and reboot.",
        role=Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "extension-add",
        "POST",
        "/extensions",
        "Lay a signed system extension over this host until the next boot.",
        role=Role.OPERATOR,
        fields=(
            _EXTENSION,
            Parameter("url", "Where it is.", pattern=_URL, required=True),
            Parameter("sha256", "What it hashes to.", pattern="[0-9a-f]{64}", required=True),
        ),
        act=True,
    ),
    Endpoint(
        "extension-remove",
        "DELETE",
        "/extensions/{name}",
        "Take an extension away until the next boot.",
        role=Role.OPERATOR,
        parameters=(_EXTENSION,),
        act=True,
    ),
    Endpoint(
        "renew",
        "POST",
        "/certificate/renew",
        "Fetch a new certificate for the API, and use it.",
        role=Role.OPERATOR,
        act=True,
    ),
    Endpoint(
        "wipe",
        "POST",
        "/wipe",
        "Drain, give back what the cluster lent, and begin with an empty /var at the next boot.",
        role=Role.OPERATOR,
        fields=(
            Parameter(
                "hostname",
                "This host's name, so that no other is wiped.",
                pattern=r"[A-Za-z0-9.\-]{1,253}",
                required=True,
            ),
        ),
        act=True,
    ),
)
BY_NAME: Mapping[str, Endpoint] = {each.name: each for each in ENDPOINTS}


def read_all(expected: tuple[Parameter, ...], given: Mapping[str, object]) -> dict[str, Value]:
    """Check what a client gave; what it may leave out and does is not in the result.

    Raises:
        InputError: a value is wrong, missing, or one that nobody asked for.
    """
    known = {each.name: each for each in expected}
    for name in given:
        if name not in known:
            names = ", ".join(known) or "none"
            raise InputError(f"{name[:40]!r}: unknown; known are {names}")
    for each in expected:
        if each.required and each.name not in given:
            raise InputError(f"{each.name}: missing; {each.text}")
    return {name: known[name].read(raw) for name, raw in given.items()}
