"""What outlives a boot: the last good document, fetched contents by hash, the instance's name."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cloudconfig.places import Places
from updater.files import write_atomic

_SECRET = 0o600


@dataclass(frozen=True, slots=True)
class Input:
    """All that a configuration is made of; `file` is the document's name in messages."""

    document: bytes = field(repr=False)
    file: Path
    source: str
    instance_id: str = ""
    hostname: str = ""
    public_keys: tuple[str, ...] = ()
    network: bytes | None = field(default=None, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the document, in hexadecimal digits."""
        return hashlib.sha256(self.document).hexdigest()


def load_last_good(places: Places) -> Input | None:
    """The input that was last applied without a fault; None if there is none, or it is torn."""
    folder = places.state / "last-good"
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        document = (folder / meta["document"]).read_bytes()
        network = (folder / meta["network"]).read_bytes() if meta["network"] else None
        found = Input(
            document=document,
            file=Path(meta["file"]),
            source=str(meta["source"]),
            instance_id=str(meta["instance_id"]),
            hostname=str(meta["hostname"]),
            public_keys=tuple(map(str, meta["public_keys"])),
            network=network,
            variables={str(key): str(value) for key, value in meta["variables"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if found.digest == meta["document"] else None


def save_last_good(given: Input, places: Places) -> None:
    """Keep an input; whoever loads it meanwhile finds the one before, or this one, whole."""
    folder = places.state / "last-good"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    network = hashlib.sha256(given.network).hexdigest() if given.network is not None else ""
    meta = {
        "schema": 1,
        "document": given.digest,
        "network": network,
        "file": str(given.file),
        "source": given.source,
        "instance_id": given.instance_id,
        "hostname": given.hostname,
        "public_keys": given.public_keys,
        "variables": dict(given.variables),
    }
    text = json.dumps(meta, sort_keys=True).encode()
    with suppress(OSError):
        if (folder / "meta.json").read_bytes() == text and (folder / given.digest).exists():
            return
    write_atomic(folder / given.digest, given.document, mode=_SECRET)
    if given.network is not None:
        write_atomic(folder / network, given.network, mode=_SECRET)
    write_atomic(folder / "meta.json", text, mode=_SECRET)
    for path in folder.iterdir():
        if path.name not in {"meta.json", given.digest, network}:
            path.unlink()


def fetched(sha256: str, places: Places) -> bytes | None:
    """A content that was fetched before; None if it is not there, or not what it was."""
    try:
        content = (places.state / "fetched" / sha256).read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == sha256 else None


def keep_fetched(content: bytes, sha256: str, places: Places) -> None:
    """Keep a content, so that the next boot needs no network for it."""
    folder = places.state / "fetched"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(folder / sha256, content, mode=_SECRET)


def forget_fetched(wanted: frozenset[str], places: Places) -> None:
    """Drop what no configuration asks for any more."""
    folder = places.state / "fetched"
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def is_new_instance(instance_id: str, places: Places) -> bool:
    """Whether this instance has not yet been told that it is finished."""
    try:
        return (places.state / "instance").read_text() != instance_id
    except OSError:
        return True


def finish_instance(instance_id: str, places: Places) -> None:
    """What is done once for an instance is done."""
    places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(places.state / "instance", instance_id.encode(), mode=_SECRET)
