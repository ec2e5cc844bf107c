"""What goes wrong between a client and this host, and the HTTP status that says so. Pure."""

import enum
import json
from collections.abc import Mapping
from types import MappingProxyType

from hostapi.contract import SCHEMA
from updater.errors import BedplateError, InputError
from updater.store import BusyError

_NONE: Mapping[str, str] = MappingProxyType({})


class Fault(enum.Enum):
    """Why there is no answer; the value is the word in the answer's `error.code`."""

    INVALID = "invalid"
    FORBIDDEN = "forbidden"
    MISSING = "missing"
    METHOD = "method"
    BUSY = "busy"
    LARGE = "large"
    RATE = "rate"
    FAILED = "failed"
    CROWDED = "crowded"


STATUS: Mapping[Fault, int] = {
    Fault.INVALID: 400,
    Fault.FORBIDDEN: 403,
    Fault.MISSING: 404,
    Fault.METHOD: 405,
    Fault.BUSY: 409,
    Fault.LARGE: 413,
    Fault.RATE: 429,
    Fault.FAILED: 500,
    Fault.CROWDED: 503,
}
_FAULTS: tuple[tuple[type[Exception], Fault], ...] = (
    (InputError, Fault.INVALID),
    (BusyError, Fault.BUSY),
    (FileNotFoundError, Fault.MISSING),
    (OSError, Fault.FAILED),
    (BedplateError, Fault.FAILED),
)
# The client has gone before its answer; no answer has this code, only the log and the metrics.
GONE = 499


class RefusedError(BedplateError):
    """A request that is answered with an error; `headers` go along with the answer."""

    def __init__(self, fault: Fault, message: str, headers: Mapping[str, str] = _NONE) -> None:
        super().__init__(message)
        self.fault = fault
        self.headers = headers

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.fault]

    def to_plain(self) -> dict[str, object]:
        """The error as a stream's last line has it."""
        return {"error": {"code": self.fault.value, "message": str(self)}}

    def body(self) -> bytes:
        """The error as an answer."""
        return json.dumps({"schema": SCHEMA, **self.to_plain()}).encode() + b"\n"


def refusal_of(error: BaseException) -> RefusedError:
    """How a failure is told: what is not meant for people stays in this host's journal."""
    if isinstance(error, RefusedError):
        return error
    for kinds, fault in _FAULTS:
        if isinstance(error, kinds):
            return RefusedError(fault, _told(error))
    message = "an error in bedplate-api itself; this host's journal has the details"
    return RefusedError(Fault.FAILED, message)


def ending() -> RefusedError:
    """This program ends; the next one answers."""
    headers = {"Retry-After": "1", "Connection": "close"}
    return RefusedError(Fault.CROWDED, "bedplate-api is being restarted; ask again", headers)


def expired() -> RefusedError:
    """The client's certificate has ended while its connection was open."""
    message = "this certificate has expired; get a new one, and connect anew"
    return RefusedError(Fault.FORBIDDEN, message, {"Connection": "close"})


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "this took too long; try again later"
    if not isinstance(error, OSError):
        return str(error)
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"
