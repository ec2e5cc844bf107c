"""`bedplate-api-act`: does one act for the API's server, as root, and ends.

The server has a connection for each act; here it is file descriptor 0. Whoever is at its other end
is not trusted to have checked anything, and may go away: an act that was begun is finished.
"""

import json
import logging
import re
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

from hostapi.acts.types import Act, Request
from hostapi.contract import BY_NAME, MAXIMUM_BODY, SCHEMA, Endpoint, Value, read_all
from updater.errors import BedplateError, InputError
from updater.store import BusyError
from updater.strict import Fields, FormatError

_LOG = logging.getLogger(__name__)
_LONGEST_REQUEST = 2 << 20  # bytes
_READ_SECONDS = 30.0
_WRITE_SECONDS = 60.0
_BLOCK = 64 * 1024
_WHO = r"[ -~]{1,64}"  # a common name (RFC 5280, ub-common-name)
# To the last "@": a password may have one itself.
_WITH_USER = re.compile(r"//\S*@")


def find(name: str) -> Act:
    """The act called `name`; only its own module is imported, for that takes a small host long."""
    match name:
        case "config" | "config-plan":
            from hostapi.acts import configuration  # noqa: PLC0415

            return configuration.ACTS[name]
        case "extensions" | "extension-add" | "extension-remove":
            from hostapi.acts import extensions  # noqa: PLC0415

            return extensions.ACTS[name]
        case "crash":
            from hostapi.acts import crashes  # noqa: PLC0415

            return crashes.ACTS[name]
        case "renew":
            from hostapi.acts import certificate  # noqa: PLC0415

            return certificate.ACTS[name]
        case _:
            from hostapi.acts import system  # noqa: PLC0415

            return system.ACTS[name]


class Line:
    """The connection to whoever asked, as far as it is there still; see `types.Tell`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._gone = False

    def read(self) -> bytes:
        """The request: one line, without its end.

        Raises:
            InputError: it is too long, or comes too slowly, or not at all.
        """
        ends = time.monotonic() + _READ_SECONDS
        found = bytearray()
        while not found.endswith(b"\n"):
            self._connection.settimeout(max(0.01, ends - time.monotonic()))
            try:
                block = self._connection.recv(_BLOCK)
            except TimeoutError:
                raise InputError(f"no request within {_READ_SECONDS:.0f} s") from None
            except OSError as error:
                raise InputError(f"no request: {error.strerror or error}") from error
            found += block
            if not block:
                raise InputError("the request ends without a line's end")
            if len(found) > _LONGEST_REQUEST or b"\n" in found[:-1]:
                raise InputError(f"expected one line of at most {_LONGEST_REQUEST} bytes")
            if time.monotonic() > ends:
                raise InputError(f"no whole request within {_READ_SECONDS:.0f} s")
        return bytes(found[:-1])

    def progress(self, found: Mapping[str, object]) -> None:
        """Send one object of a stream."""
        self.send({"progress": found})

    def data(self, block: bytes) -> None:
        """Send a part of a file."""
        self.send({"data": b64encode(block).decode("ascii")})

    def send(self, document: Mapping[str, object]) -> None:
        """Send a line; who does not take it within a minute is not told any more."""
        if self._gone:
            return
        try:
            self._connection.settimeout(_WRITE_SECONDS)
            self._connection.sendall(json.dumps(document).encode() + b"\n")
        except OSError as error:
            self._gone = True
            _LOG.info("nobody listens any more (%s); what was begun is finished", error)


def parse(data: bytes) -> tuple[Endpoint, Request]:
    """Which act is asked for, and by whom: all of it judged anew by the contract.

    Raises:
        InputError: there is no such act, or what is given for it is wrong.
    """
    keys = ("act", "who", "arguments", "document")
    try:
        fields = Fields.parse(data, "request", keys, _LONGEST_REQUEST)
        name = fields.text("act", "[a-z-]{1,32}", "the name of an act")
        who = fields.text("who", _WHO, "a name of 1 to 64 printable characters")
    except FormatError as error:
        raise InputError(str(error)) from error
    endpoint = BY_NAME.get(name)
    if endpoint is None or not endpoint.act:
        raise InputError(f"{name!r} is no act")
    given, document = fields.values["arguments"], fields.values["document"]
    if not isinstance(given, dict):
        raise InputError("arguments: expected an object")
    if endpoint.document != isinstance(document, str) or not isinstance(document, str | None):
        raise InputError("document: expected " + ("a text" if endpoint.document else "null"))
    if document is not None and len(document.encode(errors="replace")) > MAXIMUM_BODY:
        raise InputError(f"document: more than the {MAXIMUM_BODY} bytes allowed")
    arguments = read_all((*endpoint.parameters, *endpoint.fields), given)
    return endpoint, Request(who, arguments, document)


def error_of(error: Exception) -> Mapping[str, object]:
    """How an error is told: a code, and a sentence that is fit for a client."""
    match error:
        case InputError():
            code, message = "invalid", str(error)
        case BusyError():
            code, message = "busy", str(error)
        case FileNotFoundError():
            code, message = "missing", _sentence(error)
        case BedplateError():
            code, message = "failed", str(error)
        case OSError():
            code, message = "failed", _sentence(error)
        case _:
            code, message = "failed", "a fault of ours; this host's journal has it"
    return {"error": {"code": code, "message": message}}


def _sentence(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _shown(arguments: Mapping[str, Value]) -> str:
    """Arguments for the journal, in ASCII, without a password that an address may have."""
    pairs = (f" {name}={value!a}" for name, value in sorted(arguments.items()))
    return _WITH_USER.sub("//...@", "".join(pairs))


def serve(line: Line, find: Callable[[str], Act] = find) -> int:
    """Do what is asked for; 0 when it is done, 1 when not. The other end hears which."""
    name = who = "?"
    try:
        endpoint, request = parse(line.read())
        name, who = endpoint.name, request.who
        _LOG.info("%s: asked for by %s%s", name, who, _shown(request.arguments))
        found = find(name)(request, line)
        line.send({"result": {"schema": SCHEMA, **found}})
    except (BedplateError, OSError) as error:
        told = error_of(error)
        _LOG.warning("%s: failed for %s: %s", name, who, error)
    except Exception as error:  # noqa: BLE001 - a client must hear of it, and not how
        told = error_of(error)
        _LOG.exception("%s: a fault, for %s", name, who)
    else:
        _LOG.info("%s: done for %s", name, who)
        return 0
    line.send(told)
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the connection on file descriptor 0."""
    del argv
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    with socket.socket(fileno=0) as connection:
        return serve(Line(connection))
