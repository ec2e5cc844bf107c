"""Folders of certificates with a clock of their own, an issuing service, and hosts that ask it."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from builder.pki import issuing, tokens
from builder.pki.folder import Folder, unencrypted
from builder.pki.service import Limits, Service
from builder.trust.pkcs8 import ScryptCost
from hostapi.certificate import Keeper, Moment, Places
from hostapi.enrol import Service as Asked
from updater.strict import render_json

CHEAP = ScryptCost(n=2, r=1, p=1)
PLENTY = Limits(1000, 1000)
PASSPHRASE = "correct horse"  # noqa: S105 - a test's


@dataclass(slots=True)
class Clock:
    """A clock that a test sets forward."""

    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **amount: float) -> None:
        self.now += timedelta(**amount)


def new_folder(path: Path, clock: Clock | None = None) -> Folder:
    """A folder with an authority."""
    folder = opened(path, clock)
    issuing.init(folder)
    return folder


def opened(path: Path, clock: Clock | None = None) -> Folder:
    """A folder as another process would open it."""
    return Folder(path, lambda _opens: PASSPHRASE, clock=clock or Clock(), cost=CHEAP)


@contextmanager
def serving(folder: Folder, *, days: int = 90, limits: Limits = PLENTY) -> Iterator[str]:
    """An issuing service of the folder at 127.0.0.1; gives its URL."""
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    ports: list[int] = []

    def told(port: int) -> None:
        ports.append(port)
        ready.set()

    async def run() -> None:
        service = Service(folder, ("127.0.0.1",), lasts=timedelta(days=days), limits=limits)
        await service.run("127.0.0.1", 0, told)

    task = loop.create_task(run())

    def serve() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            loop.close()
        finally:
            ready.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield f"https://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def asked(folder: Folder, url: str, *, behind: bool = False) -> Asked:
    """The service as a host knows it."""
    return Asked(url, (folder.path / "ca.pem").read_text(), folder.now(), behind=behind)


@dataclass(slots=True)
class Host:
    """A host's files, and what it has asked systemd for."""

    root: Path
    clock: Clock
    calls: list[tuple[str, ...]] = field(default_factory=list)
    behind: bool = False

    def __post_init__(self) -> None:
        self.places.document.mkdir(parents=True, exist_ok=True)

    @property
    def places(self) -> Places:
        return Places(self.root)

    @property
    def keeper(self) -> Keeper:
        moment = Moment(self.clock.now, behind=self.behind)
        return Keeper(self.places, moment, self.calls.append)

    def trusts(self, folder: Folder) -> None:
        """Give it the folder's authorities and revocation lists."""
        (self.places.document / "clients.pem").write_bytes((folder.path / "ca.pem").read_bytes())
        (self.places.document / "revoked.pem").write_bytes((folder.path / "crl.pem").read_bytes())

    def enrols(self, url: str, token: str, name: str) -> None:
        """Give it what the document says of enrolment."""
        told = {"url": url, "token": token, "hostname": name}
        (self.places.document / "enrol.json").write_bytes(render_json(told))

    def brings(self, folder: Folder, name: str) -> None:
        """Give it a certificate and its key."""
        key = folder.read_key(name, lambda: PASSPHRASE)
        certificate = folder.certificate_file(name).read_bytes()
        (self.places.document / "host.pem").write_bytes(certificate)
        (self.places.document / "host.key").write_bytes(unencrypted(key))

    def note(self) -> str:
        return self.places.note.read_text() if self.places.note.exists() else ""

    def shown(self) -> str:
        """The certificate in force."""
        path = self.places.runtime / "host.pem"
        return path.read_text() if path.exists() else ""

    def restarts(self) -> int:
        return sum("try-restart" in call for call in self.calls)


def token_for(folder: Folder, name: str, addresses: Sequence[str] = ()) -> str:
    return tokens.new_token(folder, name, addresses=addresses)[0]
