"""The system extensions of a host: which are merged, and why another one is not.

systemd-sysext(8) takes images from three folders, the first that has a name wins, and merges all
of them or none: one that is not signed keeps the others away too. One that does not fit is left
out, and nobody is told but here.
"""

import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path, PurePosixPath

from cloudconfig.extensionimage import NAME, ExtensionError, Fits, Image, read_image
from cloudconfig.places import EXTENSIONS, RAW, Places
from updater.files import write_atomic
from updater.host import parse_os_release

# /etc is gone with the boot, and so is what is named here: for as long, it hides the others.
FIRST = PurePosixPath("/etc/extensions")
_DISK = PurePosixPath("/run/extensions")
_MERGED = PurePosixPath("/usr/.systemd-sysext/extensions")
_RELEASES = PurePosixPath("/usr/lib/extension-release.d")
# What an extension brings to be started: systemd has no other word for which unit is whose.
_WANTED = PurePosixPath("/usr/lib/systemd/system/bedplate-extensions.target.wants")
_CERTIFICATES = PurePosixPath("/usr/lib/verity.d")
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


class State(Enum):
    """What became of an extension."""

    MERGED = "merged"
    REFUSED = "refused"
    ABSENT = "absent"


class Source(Enum):
    """Who wants an extension here."""

    DOCUMENT = "document"
    API = "api"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension; `reason` says why it is not merged."""

    name: str
    version: str
    state: State
    reason: str
    source: Source

    def __str__(self) -> str:
        named = " ".join(filter(None, (self.name, self.version)))
        reason = f": {self.reason}" if self.reason else ""
        return f"{named} ({self.source.value}) is {self.state.value}{reason}"

    def plain(self) -> dict[str, object]:
        """As JSON has it."""
        return asdict(self) | {"state": self.state.value, "source": self.source.value}


@dataclass(frozen=True, slots=True)
class Given:
    """An image that is there, or what is wrong with it."""

    source: Source
    image: Image | str


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is on a host: `hidden` are taken away until the next boot.

    `merged` has the version of each; `release` is the host's os-release, `signers` are the
    SHA-256 of the certificates that it trusts.
    """

    given: Mapping[str, Given] = field(default_factory=dict)
    hidden: Mapping[str, Source] = field(default_factory=dict)
    merged: Mapping[str, str] = field(default_factory=dict)
    release: Mapping[str, str] = field(default_factory=dict)
    signers: frozenset[str] = frozenset()


def judge(seen: Seen, declared: Mapping[str, str]) -> tuple[Extension, ...]:
    """All extensions by name. Pure; `declared` are the document's, each with why it is missing."""
    # What is wrong with one that systemd refuses for it, and all others with it.
    faults = {name: wrong for name, each in seen.given.items() if (wrong := fault(each, seen))}
    found = [_judged(name, each, seen, faults) for name, each in seen.given.items()]
    found += [
        Extension(name, "", State.ABSENT, "taken away until the next boot", source)
        for name, source in seen.hidden.items()
    ]
    known = {each.name for each in found}
    found += [
        Extension(name, "", State.ABSENT, reason, Source.DOCUMENT)
        for name, reason in declared.items()
        if name not in known
    ]
    # A disk that was pulled out leaves what was merged from it, until the next merge.
    found += [
        Extension(name, version, State.MERGED, "its image is gone", Source.DISK)
        for name, version in seen.merged.items()
        if name not in known
    ]
    return tuple(sorted(found, key=lambda each: each.name))


def _judged(name: str, given: Given, seen: Seen, faults: Mapping[str, str]) -> Extension:
    if name in seen.merged:
        return Extension(name, seen.merged[name], State.MERGED, "", given.source)
    note = given.image.note if isinstance(given.image, Image) else None
    reason = faults.get(name) or misfit(name, given, seen.release)
    if not reason and faults:
        reason = f"systemd-sysext merges all or none, and refuses {', '.join(sorted(faults))}"
    reason = reason or "systemd-sysext did not take it; its journal says why"
    return Extension(name, note.version if note else "", State.REFUSED, reason, given.source)


def fault(given: Given, seen: Seen) -> str:
    """Why systemd would not look into an image, or nothing."""
    if isinstance(given.image, str):
        return given.image
    if given.image.signer is None:
        return "it is not signed"
    if given.image.signer not in seen.signers:
        return (
            f"its signer is unknown to this release (certificate with the SHA-256"
            f" {given.image.signer[:16]}...)"
        )
    return ""


def misfit(name: str, given: Given, release: Mapping[str, str]) -> str:
    """Why an image that is right is not for this host, or nothing, as far as it says so."""
    note = given.image.note if isinstance(given.image, Image) else None
    if note is None:
        return ""
    if note.name != name:
        return f"it is called {note.name}, and must be given under that name"
    here = release.get({Fits.SUITE: "SYSEXT_LEVEL", Fits.RELEASE: "VERSION_ID"}[note.fits], "")
    if note.of == here:
        return ""
    if note.fits is Fits.RELEASE:
        return f"it fits release {note.of} alone, and this is {here}; build it for this one"
    return f"it fits releases of {note.of}, and this is one of {here}"


@dataclass(frozen=True, slots=True)
class Laid:
    """What is laid over the host's /usr: extensions by name, and the units that they start."""

    merged: frozenset[str]
    units: frozenset[str]


def laid(places: Places) -> Laid:
    """What is merged, as this process sees it."""
    folder = places.on_host(_WANTED)
    units = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return Laid(frozenset(_merged(places)), frozenset(units))


def leave_laid(places: Places) -> None:
    """Leave what is merged for who is in a mount name space of its own, which may not follow.

    Raises:
        OSError: /run is full.
    """
    found = laid(places)
    document = {"merged": sorted(found.merged), "units": sorted(found.units)}
    places.extensions_laid.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(places.extensions_laid, json.dumps(document).encode())


def left_laid(places: Places) -> Laid:
    """What was left of the last merge.

    Raises:
        OSError: nothing was.
    """
    found = json.loads(places.extensions_laid.read_bytes())
    return Laid(frozenset(found["merged"]), frozenset(found["units"]))


def tell(found: Iterable[Extension], places: Places) -> None:
    """Say on the console, and in the journal, which are refused and why.

    Raises:
        OSError: /run is full.
    """
    refused = [each for each in found if each.state is State.REFUSED]
    for each in refused:
        # As sd-daemon(3) has it: a warning.
        sys.stderr.write(f"<4>bedplate: extension {each}\n")
    note = places.extensions_note
    if not refused:
        note.unlink(missing_ok=True)
        return
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(
        note, "; ".join(f"{each.name} refused: {each.reason}" for each in refused).encode()
    )


def observe(places: Places) -> Seen:
    """What there is on this host."""
    given: dict[str, Given] = {}
    for folder, source in (
        (FIRST, Source.API),
        (_DISK, Source.DISK),
        (EXTENSIONS, Source.DOCUMENT),
    ):
        for name, path in _images(places.on_host(folder)):
            if name not in given:
                given[name] = Given(source, _image(path))
    hidden = {}
    for name in _names(places.on_host(FIRST), hidden=True):
        if name in given and given[name].source is not Source.API:
            hidden[name] = given.pop(name).source
    return Seen(
        given=given,
        hidden=hidden,
        merged=_merged(places),
        release=parse_os_release(_text(places.root / "usr/lib/os-release")),
        signers=frozenset(_signers(places.on_host(_CERTIFICATES))),
    )


def _images(folder: Path) -> Iterator[tuple[str, Path]]:
    for name in _names(folder, hidden=False):
        yield name, folder / f"{name}{RAW}"


def _names(folder: Path, *, hidden: bool) -> list[str]:
    """Names of the images in a folder; or of those that empty folders in it hide."""
    if not folder.is_dir():
        return []
    paths = sorted(folder.iterdir())
    if hidden:
        return [path.name for path in paths if path.is_dir() and re.fullmatch(NAME, path.name)]
    names = [path.name.removesuffix(RAW) for path in paths if path.name.endswith(RAW)]
    return [name for name in names if re.fullmatch(NAME, name)]


def _image(path: Path) -> Image | str:
    try:
        return read_image(path)
    except ExtensionError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _merged(places: Places) -> dict[str, str]:
    found = {}
    for name in _text(places.on_host(_MERGED)).split():
        text = _text(places.on_host(_RELEASES) / f"extension-release.{name}")
        found[name] = parse_os_release(text).get("SYSEXT_VERSION_ID", "")
    return found


def _signers(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.crt")) if folder.is_dir() else []:
        for body in _PEM.findall(path.read_bytes()):
            yield hashlib.sha256(base64.b64decode(body)).hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
