"""A support bundle: all that may be read of a host, in one archive, without secrets.

`NAME.tar.zst` holds a folder NAME with `manifest.json` first, which names every other member with
its size and hash, and what was not to be had.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import zstandard

from builder import output
from builder.host.asking import ask
from builder.host.client import Client
from builder.host.cutting import EntryCutter, cut, cut_all
from builder.host.errors import DistrustError, HostError, UnreachableError
from builder.report import Step
from hostapi.contract import ENDPOINTS, Answer, Endpoint
from updater.strict import render_time

LOG_LINES = 100_000  # of one boot, the last
LOG_BYTES = 128 * 1024**2  # of one boot, at most
_BOOTS = {"logs-this-boot.jsonl": 0, "logs-boot-before.jsonl": -1}
_LEVEL = 10


@dataclass(frozen=True, slots=True)
class Member:
    """A file of the bundle; `sha256` in hex."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """What was not to be had, or not whole."""

    name: str
    reason: str


@dataclass(slots=True)
class Bundle:
    """What was collected."""

    members: list[Member] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def plain(self) -> dict[str, object]:
        """As values of JSON."""
        return {
            "members": [asdict(each) for each in self.members],
            "failed": [asdict(each) for each in self.failed],
        }


def file_name(host: str) -> str:
    """What a bundle is called: "web-1-20261123T025800Z.tar.zst"."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{host.replace(':', '-')}-{now}.tar.zst"


def collect(client: Client, final: Path, step: Step) -> Bundle:
    """Collect everything that may be read, and put it into the archive `final`: whole, or not.

    Raises:
        HostError: the host does not answer, or says nothing of itself at all.
        OSError: the archive cannot be written.
    """
    made = Bundle()
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as name:
        folder = Path(name)
        for each, write in _sources(client):
            step.output(each)
            path = folder / each
            try:
                with path.open("wb") as sink:
                    write(sink)
            except HostError as error:
                if not made.members and isinstance(error, DistrustError | UnreachableError):
                    raise
                reason = str(error).removeprefix(f"{client.target.name}: ")
                made.failed.append(Failure(each, cut(reason)))
            if path.stat().st_size:
                made.members.append(_member(path))
        if not made.members:
            raise HostError(f"{client.target.name}: nothing was to be had: {made.failed[0].reason}")
        archive = folder / "archive"
        _pack(made, client, final, folder, archive)
        output.put(archive, final)
    return made


def _sources(client: Client) -> Iterator[tuple[str, Callable[[BinaryIO], None]]]:
    """The members that there should be, and who writes each: by the contract, all that is read."""
    for endpoint in ENDPOINTS:
        if endpoint.method != "GET" or any(each.required for each in endpoint.parameters):
            continue
        match endpoint.answer:
            case Answer.JSON:
                yield f"{endpoint.name}.json", _json(client, endpoint)
            case Answer.TEXT:
                yield f"{endpoint.name}.txt", _text(client, endpoint)
            case Answer.LINES | Answer.BYTES:
                pass  # logs are below; files are fetched one by one, and by operators
    for name, boot in _BOOTS.items():
        yield name, _logs(client, boot)


def _json(client: Client, endpoint: Endpoint) -> Callable[[BinaryIO], None]:
    def write(sink: BinaryIO) -> None:
        document = cut_all(dict(client.json(ask(endpoint.name))))
        sink.write(json.dumps(document, indent=2).encode("ascii") + b"\n")

    return write


def _text(client: Client, endpoint: Endpoint) -> Callable[[BinaryIO], None]:
    return lambda sink: _put(sink, cut(client.text(ask(endpoint.name))).encode())


def _put(sink: BinaryIO, data: bytes) -> None:
    sink.write(data)


def _logs(client: Client, boot: int) -> Callable[[BinaryIO], None]:
    def write(sink: BinaryIO) -> None:
        cutter, length = EntryCutter(), 0
        for entry in client.lines(ask("logs", {"boot": boot, "lines": LOG_LINES})):
            line = json.dumps(cutter.cut(entry)).encode("ascii") + b"\n"
            length += len(line)
            if length > LOG_BYTES:
                raise HostError(f"more than {LOG_BYTES} bytes; the rest is left out")
            sink.write(line)

    return write


def _member(path: Path) -> Member:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Member(path.name, path.stat().st_size, digest)


def _pack(made: Bundle, client: Client, final: Path, folder: Path, archive: Path) -> None:
    now = datetime.now(UTC)
    manifest = {
        "schema": 1,
        "host": client.target.name,
        "address": client.target.url,
        "made": render_time(now),
        **made.plain(),
    }
    top = final.name.removesuffix(".tar.zst")
    data = json.dumps(manifest, indent=2).encode("ascii") + b"\n"
    # For its owner alone: what is no secret to us may be one to others.
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with (
        os.fdopen(descriptor, "wb") as file,
        zstandard.ZstdCompressor(level=_LEVEL).stream_writer(file) as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        tar.addfile(_entry(f"{top}/manifest.json", len(data), now), io.BytesIO(data))
        for each in made.members:
            with (folder / each.name).open("rb") as source:
                tar.addfile(_entry(f"{top}/{each.name}", each.bytes, now), source)


def _entry(name: str, size: int, now: datetime) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mtime, found.mode = size, int(now.timestamp()), 0o600
    return found
