# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""Where a fleet's etcd is, and who we are to it: options, or a file that says it once for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudconfig.model.endpoints import REACHED, Endpoints, reached
from hostkit.document.kinds import LocalPath, Text
from hostkit.document.schema import Reading, Section, Wrong, key
from hostkit.document.source import DocumentError, read, shown
from hostkit.etcd import Access
from updater.errors import InputError

FILE_VARIABLE = "BEDPLATE_FLEET"
PASSWORD_VARIABLE = "BEDPLATE_ETCD_PASSWORD"  # noqa: S105 - the variable's name
DEFAULT_FILE = Path(".config/bedplate/fleet.yaml")  # below the home folder
NETWORK_PREFIX = "/coreos.com/network"  # flannel's default

_LINE = Text("a name", r"[^\x00-\x1f\x7f]+", limit=256)
_PREFIX = Text("a key such as /coreos.com/network", r"/[^\x00-\x20\x7f]*[^/\x00-\x20\x7f]")
_FILE = LocalPath()


@dataclass(frozen=True, slots=True)
class FleetFile:
    """What fleet.yaml holds; paths are relative to it."""

    endpoints: Endpoints = key(REACHED, "URLs of etcd's members.")
    ca_file: Path | None = key(_FILE, "Who signed their certificates.", default=None)
    cert_file: Path | None = key(_FILE, "Our certificate.", default=None)
    key_file: Path | None = key(_FILE, "Its key.", default=None)
    username: str | None = key(_LINE, "Who we are.", default=None)
    password_file: Path | None = key(_FILE, "Its first line is our password.", default=None)
    prefix: str = key(_PREFIX, "Where the overlay is in etcd.", default=NETWORK_PREFIX)


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line says; None where it says nothing."""

    fleet: Path | None = None
    endpoints: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    prefix: str | None = None


@dataclass(frozen=True, slots=True)
class Fleet:
    """How a fleet is reached, and where its overlay is in etcd."""

    access: Access
    prefix: str


def find(
    given: Given, environment: Mapping[str, str], home: Path, *, by_file: bool = False
) -> Fleet:
    """How the fleet that is meant is reached.

    The options take the place of the file's keys. With endpoints among them only a file that is
    named beside them is read: what a file says of one etcd is not told to another.

    Args:
        given: the command line.
        environment: may name the file, and hold the password.
        home: where the default file is.
        by_file: the command has `--fleet` alone, and nothing else is advised.

    Raises:
        InputError: nothing says where etcd is, or what says it is wrong.
    """
    known = _known(given, environment, home)
    chosen = {
        name: getattr(given, name) or (getattr(known, name) if known else None)
        for name in ("ca_file", "cert_file", "key_file", "username")
    }
    for one, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if chosen[one] and not chosen[other]:
            raise InputError(f"{one} needs {other}: a certificate and its key belong together")
    access = Access(
        endpoints=tuple(map(str, _endpoints(given, known, by_file=by_file))),
        ca=chosen["ca_file"],
        certificate=chosen["cert_file"],
        key=chosen["key_file"],
        username=chosen["username"],
        password=_password(chosen["username"], given, known, environment, by_file=by_file),
    )
    _check_files(access)
    prefix = given.prefix or (known.prefix if known else NETWORK_PREFIX)
    if not _PREFIX.matches(prefix):
        raise InputError(f"--prefix {prefix}: expected {_PREFIX.what}")
    return Fleet(access, prefix)


def _known(given: Given, environment: Mapping[str, str], home: Path) -> FleetFile | None:
    if given.fleet is not None:
        return read_file(given.fleet)
    if given.endpoints is not None:
        return None
    if named := environment.get(FILE_VARIABLE):
        return read_file(Path(named))
    default = home / DEFAULT_FILE
    return read_file(default) if default.exists() else None


def read_file(path: Path) -> FleetFile:
    """A fleet.yaml.

    Raises:
        InputError: it cannot be read, or is wrong; with every problem and its place.
    """
    reading = Reading()
    try:
        found = Section(FleetFile).read(read(path), reading)
    except Wrong:
        raise DocumentError(reading.problems) from None
    assert isinstance(found, FleetFile)  # noqa: S101 (a section reads its model)
    return found


def _endpoints(given: Given, known: FleetFile | None, *, by_file: bool) -> Endpoints:
    if given.endpoints is None:
        if known is not None:
            return known.endpoints
        first = "write its endpoints" if by_file else "give --endpoints, or write them"
        raise InputError(
            f"no etcd is named: {first} to ~/{DEFAULT_FILE}, or name another such file by --fleet "
            f"or {FILE_VARIABLE}"
        )
    try:
        return tuple(reached(word.strip()) for word in given.endpoints.split(","))
    except ValueError:
        raise InputError(
            f"--endpoints {shown(given.endpoints)}: expected scheme, host and port such as "
            "https://10.0.0.1:2379, or more with commas between"
        ) from None


def _check_files(access: Access) -> None:
    for path in (access.ca, access.certificate, access.key):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file")


def _password(
    username: str | None,
    given: Given,
    known: FleetFile | None,
    environment: Mapping[str, str],
    *,
    by_file: bool,
) -> str | None:
    """The password of a user, who must have one; without a user there is none."""
    if username is None:
        return None
    of_file = known.password_file if known else None
    if given.password_file is not None:
        return _first_line(given.password_file)
    if found := environment.get(PASSWORD_VARIABLE):
        return found
    if of_file is not None:
        return _first_line(of_file)
    first = "write password_file to the fleet.yaml" if by_file else "give --password-file"
    raise InputError(f"no password for etcd's user {username}: {first}, or set {PASSWORD_VARIABLE}")


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            first = stream.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise InputError(f"{path}: the password cannot be read: {reason}") from error
    if not first:
        raise InputError(f"{path}: the first line holds no password")
    return first
