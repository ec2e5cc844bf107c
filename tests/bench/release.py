"""Built releases, and the two that a run measures: the second has one file changed."""

import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder import pipeline
from builder.build_cli import read_trust
from builder.definition.load import load
from builder.report import Reporter
from builder.steps.root import Trust
from builder.trust.certificates import EXTENSIONS, generate_pair
from builder.trust.keys import KeyRing, KeyStore, generate
from builder.trust.pkcs8 import ScryptCost
from builder.trust.publish import Signing
from builder.trust.repository import Repository
from builder.trust.roles import DEFAULT_KEY_NAMES
from updater import manifest, verity, wire

_PASSPHRASE = "of keys that sign nothing"  # noqa: S105 - they live for one run
_CHEAP = ScryptCost(n=2, r=1, p=1)
_CHANGED = "base/root/etc/containers/containers.conf"


@dataclass(frozen=True, slots=True)
class Release:
    """A build's folder, what its manifest says, and its root image, unpacked from the wire."""

    folder: Path
    manifest: manifest.ReleaseManifest
    image: Path

    def tree(self) -> verity.Tree:
        """The proved verity tree."""
        data = (self.folder / self.manifest.tree.path).read_bytes()
        return verity.parse_tree(data, self.manifest.root)

    def index(self) -> wire.Index:
        """Where the chunks are."""
        data = (self.folder / self.manifest.index.path).read_bytes()
        return wire.Index.parse(data, self.manifest.root)


def read(folder: Path, work: Path) -> Release:
    """Read a build's folder; its image goes to `work`."""
    described = manifest.parse((folder / "manifest.json").read_bytes())
    image = work / f"{described.root.hash}.image"
    release = Release(folder, described, image)
    index = release.index()
    with image.open("wb") as sink, (folder / described.wire.path).open("rb") as source:
        for chunk in range(described.root.chunks):
            sink.write(wire.decode(source.read(index.size(chunk)), chunk, described.root))
    return release


@dataclass(frozen=True, slots=True)
class Builds:
    """Two builds; seconds of the first from nothing (None if not asked for), of the second warm."""

    old: pipeline.Build
    new: pipeline.Build
    cold_seconds: float | None
    warm_seconds: float


def build_two(project: Path, cache: Path, work: Path, *, cold: bool) -> Builds:
    """Build release 1, change one file of a copy of the project, build release 2."""
    for name in ("cloud-config", "images", "updater"):
        shutil.copytree(project / name, work / name)
    definition, output = work / "images/base.yaml", work / "build"
    trust = made_trust(work)
    started = time.monotonic()
    cache = work / "cold-cache" if cold else cache
    old = _build(definition, "1", pipeline.Options(output, cache, trust))
    cold_seconds = time.monotonic() - started if cold else None
    with (work / "images" / _CHANGED).open("a") as stream:
        stream.write("# a line more\n")
    started = time.monotonic()
    new = _build(definition, "2", pipeline.Options(output, cache, trust))
    return Builds(old, new, cold_seconds, time.monotonic() - started)


def _build(definition: Path, version: str, options: pipeline.Options) -> pipeline.Build:
    return pipeline.build(load(definition, overrides={"version": version}), options, Reporter())


def made_trust(work: Path) -> Trust:
    """Keys and a repository in `work`, and what an image holds of them."""
    keys, repository = work / "keys", work / "repository"
    generate(keys, list(DEFAULT_KEY_NAMES), _PASSPHRASE, _CHEAP)
    generate_pair(keys, EXTENSIONS, _PASSPHRASE, _CHEAP)
    ring = KeyRing([KeyStore(keys, lambda _opens: _PASSPHRASE)])
    Repository(repository).init(Signing(ring, datetime.now(UTC)))
    return read_trust(repository, keys)
