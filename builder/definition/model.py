# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""What a definition says, typed; the declarations are the schema and the reference page too."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

import yaml

from cloudconfig.extensionimage import Fits
from hostkit.document.kinds import Choice, LocalPath, Mode, Parsed, Plain, Size, Text
from hostkit.document.schema import ListOf, MapOf, Section, key
from updater import config
from updater.errors import InputError
from updater.version import Version

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BLOCK = 4096  # bytes of a dm-verity data block
RESERVED_VARIABLES = frozenset({"disk", "image"})

_NAME = r"[a-z][a-z0-9-]{0,31}"
_WORD = r"[A-Za-z_][A-Za-z0-9_]{0,63}"
_MODULE = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"


class Architecture(Enum):
    """A processor architecture, named as the Discoverable Partitions Specification does."""

    X86_64 = "x86-64"


def image_path(text: str) -> PurePosixPath:
    """An absolute path in the image, normalised.

    Raises:
        ValueError: relative, the root itself, or with `..` in it.
    """
    path = PurePosixPath("/" + text.lstrip("/"))
    if not text.startswith("/") or len(path.parts) < 2 or ".." in path.parts or "\n" in text:
        raise ValueError(text)
    return path


def image_glob(text: str) -> str:
    """A glob of paths relative to the image's root; a leading slash is dropped.

    Raises:
        ValueError: empty, or with `.` or `..` in it.
    """
    glob = text.removeprefix("/")
    if {"", ".", ".."} & set(glob.split("/")) or "\n" in glob:
        raise ValueError(text)
    return glob


NAME = Text("a name in lower case such as bedplate", _NAME)
SUITE = Text("a Debian release such as trixie", _NAME)
VERSION = Parsed("a version such as 2026.11.1", Version.parse, (InputError,))
# deb-control(5), "Package"; apt-get(8), "install" for =version and /release.
PACKAGE = Text(
    "a Debian package such as systemd", r"[a-z0-9][a-z0-9+.\-]*(=[A-Za-z0-9+.:~\-]+|/[a-z0-9\-]+)?"
)
MODULES = Text("a pattern of modules such as `virtio_*`", r"[A-Za-z0-9_*?\[\]!.\-/]+")
GLOB = Parsed("a glob such as `usr/share/doc/**`", image_glob)
IMAGE_PATH = Parsed("an absolute path in the image", image_path)
# systemd.unit(5): "The unit name prefix must consist of ..."
_UNIT = (
    r"[A-Za-z0-9:_.\\@\-]+\.(service|socket|target|timer|mount|automount|path|slice|swap|device)"
)
UNIT = Text("a systemd unit such as podman.socket", _UNIT)
WANTED = MapOf(_UNIT, ListOf(UNIT))
PARAMETER = Text("one kernel parameter without spaces", r"[!-~]+", limit=2048)
PROGRAM = Text("an entry point such as updater.cli:main", _MODULE + ":" + _WORD)
MODULE = Text("a Python module such as encodings.idna", _MODULE)
URL = Text("an http, https or file URL", r"(https?|file)://[!-~]+", limit=2048)
TEXT = Text("text")


@dataclass(frozen=True, slots=True)
class File:
    """One file of the image; exactly one of content, source, template and link says what it is."""

    path: PurePosixPath = key(IMAGE_PATH, "Where it lies in the image.")
    content: str | None = key(TEXT, "Its text, as it is.", default=None)
    source: Path | None = key(LocalPath(), "A file that is copied, as it is.", default=None)
    template: Path | None = key(LocalPath(), "A Jinja2 template that is rendered.", default=None)
    link: str | None = key(
        Text("a path that a link points to", r"[^\n]+", limit=4095),
        "Where it points, which makes it a symbolic link.",
        default=None,
    )
    mode: int = key(Mode(), "Its permissions; a link has none.", default=0o644)


def _file_problem(file: File) -> str | None:
    given = [
        name
        for name in ("content", "source", "template", "link")
        if getattr(file, name) is not None
    ]
    if len(given) != 1:
        found = " and ".join(given) or "none"
        return f"{file.path}: one of content, source, template and link is needed; found {found}"
    return None


FILES = ListOf(Section(File, _file_problem), identity="path")
TREES = ListOf(LocalPath(folder=True))


@dataclass(frozen=True, slots=True)
class Initrd:
    """The initrd, made of files of the root."""

    modules: tuple[str, ...] = key(
        ListOf(MODULES), "Kernel modules in the initrd, with those they depend on.", default=()
    )
    programs: tuple[str, ...] = key(
        ListOf(GLOB), "Programs taken from the root, with the libraries they need.", default=()
    )
    files: tuple[str, ...] = key(
        ListOf(GLOB), "Other files taken from the root, as they are.", default=()
    )
    trees: tuple[Path, ...] = key(TREES, "Folders laid over the initrd.", default=())
    wanted: Mapping[str, tuple[str, ...]] = key(
        WANTED, "Targets and the units they start.", default={}
    )


@dataclass(frozen=True, slots=True)
class Units:
    """States of systemd units; no unit's `[Install]` section is looked at."""

    wanted: Mapping[str, tuple[str, ...]] = key(
        WANTED, "Targets and the units they start.", default={}
    )
    masked: tuple[str, ...] = key(ListOf(UNIT), "Units that cannot start.", default=())


@dataclass(frozen=True, slots=True)
class Python:
    """Python in the image: our programs, and what they import."""

    programs: Mapping[str, str] = key(
        MapOf(r"[a-z][a-z0-9-]*", PROGRAM),
        "Programs in `/usr/bin` and the function each one calls.",
        default={},
    )
    packages: tuple[Path, ...] = key(TREES, "Our package folders, installed whole.", default=())
    keep: tuple[str, ...] = key(
        ListOf(MODULE),
        "Modules kept though no import statement names them.",
        default=(),
    )


@dataclass(frozen=True, slots=True)
class Budgets:
    """Sizes that a build fails to exceed."""

    root: int | None = key(Size(), "The root file system.", default=None)
    initrd: int | None = key(Size(), "The initrd, compressed.", default=None)
    uki: int | None = key(Size(), "The unified kernel image.", default=None)
    wire: int | None = key(Size(), "What a host downloads without a delta.", default=None)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The kernel's boot."""

    command_line: tuple[str, ...] = key(
        ListOf(PARAMETER), "Parameters, signed into the UKI; `roothash=` is added.", default=()
    )


@dataclass(frozen=True, slots=True)
class Disk:
    """Sizes of the partitions; slots have head-room for releases to come."""

    esp: int = key(Size(multiple=MIB), "The EFI system partition.", default=512 * MIB)
    root: int = key(Size(multiple=MIB), "Each root slot.", default=GIB)
    verity: int = key(Size(multiple=MIB), "Each slot's verity tree.", default=16 * MIB)


@dataclass(frozen=True, slots=True)
class Health:
    """What makes a boot good."""

    units: tuple[str, ...] = key(
        ListOf(UNIT), "Units that `boot-complete.target` requires.", default=()
    )


@dataclass(frozen=True, slots=True)
class Release:
    """How a release is cut for the wire."""

    chunk: int = key(
        Size(multiple=BLOCK), "Bytes of the root in one compressed chunk.", default=128 * KIB
    )


def _update_problem(update: Mapping[str, object]) -> str | None:
    """What the host would refuse in its update.yaml, so that no image ships with it."""
    # An operator's credential may supply these two on the host.
    supplied = config.Fragment(Path("host"), {"server": "https://localhost", "channel": "stable"})
    data = yaml.safe_dump(dict(update), allow_unicode=True).encode()
    try:
        config.validate(config.merge(supplied, config.parse_fragment(data, Path("update"))))
    except config.ConfigError as error:
        return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Definition:
    """An image."""

    name: str = key(NAME, "The image's name: `IMAGE_ID` in os-release.")
    version: Version = key(VERSION, "The release's version: `IMAGE_VERSION` in os-release.")
    extends: str | None = key(
        Text("the name of a definition beside this one, or a path", r"[^\n]+", limit=1024),
        "The definition this one adds to: `base` for `base.yaml` beside it, or a relative path.",
        default=None,
    )
    architecture: Architecture = key(
        Choice(Architecture), "The processor.", default=Architecture.X86_64
    )
    suite: str = key(SUITE, "The Debian release.", default="trixie")
    mirror: str | None = key(URL, "A Debian mirror in place of apt's own choice.", default=None)
    packages: tuple[str, ...] = key(
        ListOf(PACKAGE), "Debian packages; what they depend on comes with them.", default=()
    )
    modules: tuple[str, ...] = key(
        ListOf(MODULES),
        "Kernel modules kept, by name or by path below `kernel/`, with those they depend on.",
        default=(),
    )
    kernel: Kernel = key(Section(Kernel), "The kernel's boot.", default=Kernel())
    initrd: Initrd = key(Section(Initrd), "The initrd.", default=Initrd())
    files: tuple[File, ...] = key(FILES, "Files of ours.", default=())
    trees: tuple[Path, ...] = key(
        TREES,
        "Folders laid over the root; `*.j2` is rendered and loses the suffix.",
        default=(),
    )
    variables: Mapping[str, str] = key(MapOf(_WORD, TEXT), "Values for templates.", default={})
    units: Units = key(Section(Units), "States of systemd units.", default=Units())
    python: Python = key(Section(Python), "Python in the image.", default=Python())
    prune: tuple[str, ...] = key(ListOf(GLOB), "Paths removed from the tree.", default=())
    keep: tuple[str, ...] = key(ListOf(GLOB), "Paths that pruning spares.", default=())
    forbidden: tuple[str, ...] = key(
        ListOf(GLOB), "Paths that fail the build if the finished tree has them.", default=()
    )
    setuid: tuple[str, ...] = key(
        ListOf(GLOB), "The only files that may be setuid or setgid.", default=()
    )
    budgets: Budgets = key(Section(Budgets), "Sizes that fail the build.", default=Budgets())
    disk: Disk = key(Section(Disk), "Sizes of the partitions.", default=Disk())
    update: Mapping[str, object] = key(
        MapOf(r"[a-z][a-z0-9_]*", Plain(), _update_problem),
        f"The host's `update.yaml`: {', '.join(sorted(config.KEYS))}.",
        default={},
    )
    health: Health = key(Section(Health), "What makes a boot good.", default=Health())
    minimum_version: Version | None = key(
        VERSION, "The oldest version that may update to this one.", default=None
    )
    release: Release = key(Section(Release), "The release on the wire.", default=Release())
    fits: Fits = key(
        Choice(Fits),
        "For a system extension: which releases it is laid over. `suite`: all of this Debian"
        " release; `release`: the one it is built for alone, as one with kernel modules needs.",
        default=Fits.SUITE,
    )


def _definition_problem(definition: Definition) -> str | None:
    reserved = RESERVED_VARIABLES & set(definition.variables)
    if reserved:
        return f"the variable {', '.join(sorted(reserved))} is set by the builder; rename yours"
    units = definition.units
    both = {unit for started in units.wanted.values() for unit in started} & set(units.masked)
    if both:
        return f"{', '.join(sorted(both))}: both wanted and masked"
    set_by_build = [
        parameter
        for parameter in definition.kernel.command_line
        if parameter.partition("=")[0] in {"roothash", "usrhash"}
    ]
    if set_by_build:
        return f"kernel parameter {set_by_build[0]}: the build adds the root hash itself"
    minimum = definition.minimum_version
    if minimum is not None and minimum > definition.version:
        return f"minimum_version {minimum} is above version {definition.version}"
    return None


SCHEMA = Section(Definition, _definition_problem)
