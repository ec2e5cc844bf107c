"""One probe, asked once, by kubelet's rules (kubernetes/kubernetes, pkg/probe).

HTTP is spoken here by hand: of an answer only the head counts, and no library ends a transfer
that gives a byte now and then.
"""

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit

from podagent.inside import run_inside
from podagent.types import Exec, Http, Tcp

_HEAD = 1 << 16  # bytes of an answer's head
_REDIRECTS = 10
_FOLLOWED = frozenset((301, 302, 303, 307, 308))
_PATH_CHARACTERS = "/?&=%:@!$'()*+,;~[]"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a probe found; `why` says what is wrong, or is empty."""

    well: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The container that is asked; `address` is its pod's, or the host's in the host's network."""

    address: str
    container: str  # podman's id of it, in full


class _ProbeError(Exception):
    """The probe failed; the message says why."""


class _Deadline:
    """When an answer has to be complete."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than none.

        Raises:
            _ProbeError: there are none.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise self.missed()
        return left

    def missed(self) -> _ProbeError:
        """The failure that time is up."""
        return _ProbeError(f"no answer within {self._seconds:g} s")


def ask(action: Exec | Http | Tcp, target: Target, *, time_out: float, folder: Path) -> Outcome:
    """Run one probe; it ends within about `time_out` seconds and raises nothing of its own.

    Args:
        action: what to ask.
        target: whom to ask, unless the action names another host.
        time_out: seconds for all of it.
        folder: of ours, on a tmpfs; it exists.
    """
    deadline = _Deadline(time_out)
    try:
        match action:
            case Exec():
                _exec(action, target, time_out, deadline, folder)
            case Tcp():
                _connect(action.host or target.address, action.port, deadline).close()
            case Http():
                _http(action, target, deadline)
    except TimeoutError:
        return Outcome(well=False, why=str(deadline.missed()))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Outcome(well=False, why=str(reason or error))
    except _ProbeError as error:
        return Outcome(well=False, why=str(error))
    return Outcome(well=True)


def _exec(action: Exec, target: Target, time_out: float, deadline: _Deadline, folder: Path) -> None:
    status = run_inside(target.container, action.argv, time_out=time_out, folder=folder)
    if status is None:
        raise deadline.missed()
    if status:
        raise _ProbeError(f"{action.argv[0]} ended with {status}")


def _connect(host: str, port: int, deadline: _Deadline) -> socket.socket:
    return socket.create_connection((host, port), timeout=deadline.left())


def _http(action: Http, target: Target, deadline: _Deadline) -> None:
    host = action.host or target.address
    path = quote(action.path, safe=_PATH_CHARACTERS)
    url = f"{action.scheme}://{_authority(host, action.port)}{path}"
    for _ in range(_REDIRECTS):
        status, location = _answer(url, action.headers, deadline)
        if status not in _FOLLOWED:
            break
        if not location:
            raise _ProbeError(f"HTTP status {status} without a location")
        url = urljoin(url, location)
        # Somebody else's state says nothing; that it was redirected there is well.
        if urlsplit(url).hostname != host.lower():
            return
    else:
        raise _ProbeError(f"redirected {_REDIRECTS} times")
    if not 200 <= status < 400:
        raise _ProbeError(f"HTTP status {status}")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _answer(url: str, headers: tuple[tuple[str, str], ...], deadline: _Deadline) -> tuple[int, str]:
    """The status of a GET, and its Location."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _ProbeError(f"redirected to {parts.scheme or 'nowhere'}:, which is no HTTP")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with _connect(parts.hostname, port, deadline) as plain:
        stream = _with_tls(plain, parts.hostname) if parts.scheme == "https" else plain
        with stream:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            stream.settimeout(deadline.left())
            stream.sendall(_request(target, _authority(parts.hostname, port), headers))
            return _head(stream, deadline)


def _with_tls(plain: socket.socket, host: str) -> socket.socket:
    """TLS without a look at the certificate, as kubelet does: the pod's address is what counts."""
    import ssl  # noqa: PLC0415 - few probes need it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=host)


def _request(target: str, host: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    fields = {"host": ("Host", host), "user-agent": ("User-Agent", "bedplate-pods")}
    fields |= {"accept": ("Accept", "*/*"), "connection": ("Connection", "close")}
    fields |= {name.lower(): (name, value) for name, value in headers}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.values())]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", errors="replace")


def _head(stream: socket.socket, deadline: _Deadline) -> tuple[int, str]:
    """The final status and the Location of an answer (RFC 9112, sections 4 and 5)."""
    received = b""
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if end:
            status, location = _parsed(head)
            if status >= 200:
                return status, location
            received = rest  # 1xx comes before the answer itself
            continue
        if len(received) > _HEAD:
            raise _ProbeError(f"the answer's head is longer than {_HEAD} bytes")
        stream.settimeout(deadline.left())
        more = stream.recv(_HEAD)
        if not more:
            raise _ProbeError("the connection was closed before an answer")
        received += more


def _parsed(head: bytes) -> tuple[int, str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    status = 0
    if words[0].startswith("HTTP/1."):
        with suppress(IndexError, ValueError):
            status = int(words[1])
    if not 100 <= status <= 999:
        raise _ProbeError("the answer is not HTTP/1.1")
    fields = (line.partition(":") for line in lines)
    return status, next(
        (value.strip() for name, _, value in fields if name.lower() == "location"), ""
    )
