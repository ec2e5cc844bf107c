"""`bedplate-api-certificate`: puts the API's certificate into force, and has it issued and renewed.

It runs as root, once each time its timer starts it. What it finds in /etc/bedplate/api is the
document's word; what it puts into /run/bedplate/api is what the API is started with. While there is
nothing to put there, the API is off, and the console says why.
"""

import hashlib
import logging
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hostapi import enrol, standing
from hostapi.enrol import EnrolError
from hostapi.port import FOLDER, listened_at
from hostapi.standing import Ask, Found, Source, View
from updater import host
from updater.console import read_facts
from updater.errors import BedplateError, InputError, run_main
from updater.files import sync_directory, write_atomic
from updater.programs import run as run_program
from updater.store import Store, locked
from updater.strict import Fields, FormatError, render_json, render_time

_LOG = logging.getLogger(__name__)
_MAXIMUM = 1 << 20  # bytes of one file
_SERVICE = "bedplate-api.service"
_SOCKET = "bedplate-api.socket"
_NOTE_LENGTH = 600  # characters; the console shows no more

Systemctl = Callable[[tuple[str, ...]], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are; tests give a folder of their own as `root`."""

    root: Path = Path("/")

    @property
    def document(self) -> Path:
        """What the document says."""
        return self.root / FOLDER

    @property
    def state(self) -> Path:
        """What outlives a boot: `host.pem`, a key and its certificate, and `next.key`."""
        return self.root / "var/lib/bedplate/api"

    @property
    def runtime(self) -> Path:
        """What is in force."""
        return self.root / "run/bedplate/api"

    @property
    def note(self) -> Path:
        """The console's line."""
        return self.root / "run/bedplate/notes/api"


@dataclass(frozen=True, slots=True)
class Moment:
    """The time by all that is known, and whether the clock is behind it."""

    now: datetime
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Where to enrol; nothing in it is secret but the token, which no message has."""

    url: str
    token: str
    hostname: str


@dataclass(frozen=True, slots=True)
class InForce:
    """What the API is to be started with: a file's name and its content, or None for no file."""

    certificate: Found
    source: Source
    files: dict[str, bytes | None]


_FILES = ("clients.pem", "revoked.pem", "host.pem", "host.key")


def moment(root: Path) -> Moment:
    """The time: not before the image was made, nor before the newest signature that was seen."""
    paths = host.Paths(root)
    now = None
    # Else no release of ours runs here.
    with suppress(BedplateError, OSError):
        last = Store(paths.state, paths.runtime).load().trusted_time
        now = host.trusted_now(host.observe(paths), last)
    # Read after it, or the clock would always be behind by a little.
    clock = datetime.fromtimestamp(time.time(), UTC)
    return Moment(now, behind=now > clock) if now else Moment(clock)


class Keeper:
    """One host's certificate."""

    def __init__(self, places: Places, moment: Moment, systemctl: Systemctl) -> None:
        self._places = places
        self._moment = moment
        self._systemctl = systemctl

    def keep(self) -> None:
        """Do what is to be done.

        Raises:
            EnrolError: the issuing service gave nothing; what was in force is so still.
            InputError: the document is wrong; the API is off.
            OSError: a file cannot be written.
        """
        if _read(self._places.document / "clients.pem") is None:
            self._turn_off("")
            return
        fault = ""
        try:
            source, failure = self._have_issued(wanted=False)
            if source is None:
                raise failure or InputError(self._plan(wanted=False).reason)
            fault = str(failure) if failure else ""
            found = self._in_force(source)
        except (BedplateError, FormatError) as error:
            self._turn_off(f"off: {error}")
            raise
        self._put(found)
        self._tell(found, fault)
        if failure:
            raise failure

    def renew(self) -> Found:
        """Fetch a new certificate now, and keep it; `keep` puts it into force.

        Raises:
            InputError: it comes with the document, or there is none yet.
            EnrolError: the issuing service gave nothing.
        """
        plan = self._plan(wanted=True)
        if plan.source is Source.DOCUMENT:
            raise InputError(
                "this host's certificate comes with its cloud-config; bedplate pki renew NAME"
                " --snippet makes one, and the host takes it from the new document"
            )
        source, failure = self._have_issued(wanted=True)
        if failure:
            raise failure
        if source is None:
            raise InputError(plan.reason)
        return self._in_force(source).certificate

    def _plan(self, *, wanted: bool) -> standing.Plan:
        return standing.plan(self._view(wanted=wanted))

    def _view(self, *, wanted: bool) -> View:
        enrolment = self._enrolment()
        brought = self._brought()
        kept = None
        if enrolment and not brought:
            try:
                kept = self._kept()
            except InputError as error:
                _LOG.warning("what was kept cannot be used: %s", error)
        return View(
            now=self._moment.now,
            hostname=enrolment.hostname if enrolment else socket.gethostname(),
            enrols=enrolment is not None,
            brought=brought,
            kept=kept,
            renewal_wanted=wanted,
        )

    def _have_issued(self, *, wanted: bool) -> tuple[Source | None, EnrolError | None]:
        """Ask for what the plan wants; what to show then, and why nothing was given."""
        plan = self._plan(wanted=wanted)
        if plan.ask is Ask.NOTHING:
            (self._places.state / "next.key").unlink(missing_ok=True)
            return plan.source, None
        _LOG.info("%s: asking the issuing service (%s)", plan.reason, plan.ask.value)
        try:
            self._ask(plan.ask)
        except EnrolError as error:
            return plan.source, EnrolError(f"{plan.reason}; {error}")
        return Source.ENROLLED, None

    def _ask(self, ask: Ask) -> None:
        from hostapi import examine  # noqa: PLC0415 - slow to import

        enrolment = self._enrolment()
        if enrolment is None:
            raise EnrolError("the document has no enrol")
        key = self._next_key()
        private = examine.private_key(key)
        request = enrol.make_request(private)
        authorities = _text(self._places.document / "clients.pem")
        service = enrol.Service(
            enrolment.url, authorities, self._moment.now, behind=self._moment.behind
        )
        kept = self._places.state / "host.pem"
        if ask is Ask.RENEW:
            chain = enrol.renew(service, request, kept)
        else:
            chain = enrol.enrol(service, enrolment.token, enrolment.hostname, request)
        try:
            given = examine.answered(chain, private, authorities, self._moment.now)
        except InputError as error:
            raise EnrolError(f"{enrolment.url}: {error}") from error
        if (given.name, given.role) != (enrolment.hostname, enrol.HOST_ROLE):
            raise EnrolError(f"{enrolment.url}: a certificate for {given.role} {given.name}")
        # Both in one file: there is never a key beside another one's certificate.
        write_atomic(kept, f"{key}{chain}".encode(), mode=0o600)
        (self._places.state / "next.key").unlink(missing_ok=True)
        sync_directory(self._places.state)
        _LOG.info("a certificate until %s: %s", render_time(given.ends), given.fingerprint)

    def _next_key(self) -> str:
        """The key to ask with, on the disk before anybody is asked.

        A token lets the key in again that used it: so an answer that a power cut took is asked for
        once more, with the same key.
        """
        path = self._places.state / "next.key"
        data = _read(path)
        if data is None:
            self._places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            data = enrol.new_key()
            write_atomic(path, data, mode=0o600)
        return data.decode()

    def _enrolment(self) -> Enrolment | None:
        path = self._places.document / "enrol.json"
        data = _read(path)
        if data is None:
            return None
        try:
            fields = Fields.parse(data, str(path), ("url", "token", "hostname"), _MAXIMUM)
        except FormatError as error:
            raise InputError(str(error)) from error
        url, token, name = (str(fields.values[key]) for key in ("url", "token", "hostname"))
        return Enrolment(url, token, name or socket.gethostname())

    def _brought(self) -> Found | None:
        folder = self._places.document
        if _read(folder / "host.pem") is None:
            return None
        return self._found(_text(folder / "host.pem"), _text(folder / "host.key"))

    def _kept(self) -> Found | None:
        path = self._places.state / "host.pem"
        return None if _read(path) is None else self._found(*_split(_text(path)))

    def _found(self, certificate: str, key: str) -> Found:
        from hostapi import examine  # noqa: PLC0415 - slow to import

        folder = self._places.document
        lists = _read(folder / "revoked.pem") or b""
        return examine.found(
            certificate, key, _text(folder / "clients.pem"), lists.decode(errors="replace")
        )

    def _in_force(self, source: Source) -> InForce:
        folder = self._places.document
        if source is Source.DOCUMENT:
            certificate, key = _text(folder / "host.pem"), _text(folder / "host.key")
        else:
            certificate, key = _split(_text(self._places.state / "host.pem"))
        contents = (
            _read(folder / "clients.pem"),
            _read(folder / "revoked.pem"),
            certificate.encode(),
            key.encode(),
        )
        files = dict(zip(_FILES, contents, strict=True))
        return InForce(self._found(certificate, key), source, files)

    def _put(self, found: InForce) -> None:
        """Write what is in force, and let the API read it; its socket stays."""
        folder = self._places.runtime
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        port = str(listened_at(self._places.document))
        parts = [port.encode(), *(found.files[name] or b"-" for name in _FILES)]
        digest = hashlib.sha256(b"\0".join(parts)).hexdigest().encode()
        before = self._applied()
        if before == (port, digest) and all(
            _read(folder / name) == content for name, content in found.files.items()
        ):
            self._systemctl(("--no-block", "start", _SOCKET))
            return
        for name, content in found.files.items():
            if content is None:
                (folder / name).unlink(missing_ok=True)
            else:
                write_atomic(folder / name, content, mode=0o600)
        document = {
            "schema": 1,
            "fingerprint": found.certificate.fingerprint,
            "not_after": render_time(found.certificate.ends),
            "source": found.source.value,
        }
        write_atomic(folder / "certificate.json", render_json(document))
        if before and before[0] != port:
            # A socket listens where it did until it is stopped.
            self._systemctl(("stop", _SOCKET, _SERVICE))
        self._systemctl(("--no-block", "try-restart", _SERVICE))
        self._systemctl(("--no-block", "start", _SOCKET))
        # Last: whoever is cut off before that does all of it again.
        write_atomic(folder / "applied", port.encode() + b" " + digest, mode=0o600)

    def _applied(self) -> tuple[str, bytes] | None:
        """The port and the digest of what the API was started with."""
        port, _, digest = (_read(self._places.runtime / "applied") or b"").partition(b" ")
        return (port.decode(errors="replace"), digest) if digest else None

    def _turn_off(self, reason: str) -> None:
        folder = self._places.runtime
        written = [folder / name for name in ("certificate.json", *_FILES, "applied")]
        if any(path.exists() for path in written):
            # The socket is started again for as long as this is there (bedplate-api.path).
            written[0].unlink(missing_ok=True)
            self._systemctl(("stop", _SOCKET, _SERVICE))
        for path in written:
            path.unlink(missing_ok=True)
        if reason:
            self._write_note(reason)
        else:
            self._places.note.unlink(missing_ok=True)

    def _tell(self, found: InForce, fault: str) -> None:
        addresses = read_facts(host.Paths(self._places.root)).addresses
        address = standing.reached_by(found.certificate, addresses, socket.gethostname())
        text = standing.note(
            found.certificate, address, listened_at(self._places.document), self._moment.now, fault
        )
        self._write_note(text)

    def _write_note(self, text: str) -> None:
        data = text[:_NOTE_LENGTH].encode()
        # The page is drawn anew for each write.
        if _read(self._places.note) != data:
            self._places.note.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._places.note, data)


def systemctl(argv: tuple[str, ...]) -> None:
    """Ask the service manager."""
    run_program(("systemctl", *argv))


def lock(places: Places) -> Path:
    """The file that is locked by whoever works on the certificate."""
    places.runtime.mkdir(mode=0o755, parents=True, exist_ok=True)
    return places.runtime / "certificate.lock"


def main(places: Places | None = None) -> int:
    """Run once: 0 done, 1 to be tried again, 2 the document is wrong."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    found = places or Places()

    def work() -> int:
        with locked(lock(found), wait=True):
            Keeper(found, moment(found.root), systemctl).keep()
        return 0

    return run_main(work)


def _split(text: str) -> tuple[str, str]:
    """Certificates and key of a file that has the key first."""
    key, separator, rest = text.partition("-----BEGIN CERTIFICATE-----")
    return separator + rest, key


def _read(path: Path) -> bytes | None:
    """A small file's bytes, None if there is none."""
    with suppress(FileNotFoundError), path.open("rb") as stream:
        data = stream.read(_MAXIMUM + 1)
        if len(data) > _MAXIMUM:
            raise InputError(f"{path}: longer than the {_MAXIMUM} bytes allowed")
        return data
    return None


def _text(path: Path) -> str:
    data = _read(path)
    if data is None:
        raise InputError(f"{path}: missing; bedplate.api in the cloud-config writes it")
    return data.decode(errors="replace")
