# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""Who we are to hosts, and which CA theirs is: options, or a file that says it once for all.

An identity is what `bedplate pki issue` makes: `NAME.pem`, `NAME.key` and `ca.pem`.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.trust.passphrase import VARIABLE, PassphraseSource, from_surroundings
from hostkit.document.kinds import LocalPath
from hostkit.document.schema import Reading, Section, Wrong, key
from hostkit.document.source import DocumentError, Node, read, shown
from updater.errors import BedplateError, InputError

FILE_VARIABLE = "BEDPLATE_HOST_FILE"
DEFAULT_FILE = Path(".config/bedplate/host.yaml")  # below the home folder
CA_NAME = "ca.pem"

_FILE = LocalPath()


class _Identity(LocalPath):
    """A certificate, or a folder with one and its key."""

    @property
    def label(self) -> str:
        """What it is, for people."""
        return "the path of a certificate, or of the folder with it, relative to the file"

    def read(self, node: Node, reading: Reading) -> Path:
        """The path; what is there is looked at later."""
        text = self.text(node, reading)
        path = node.place.file.absolute().parent / text
        if not text or not (path.is_file() or path.is_dir()):
            raise reading.fail(node.place, f"no file and no folder {shown(text)} at {path}")
        return path


@dataclass(frozen=True, slots=True)
class HostFile:
    """What host.yaml holds; paths are relative to it."""

    identity: Path = key(_Identity(), "Our certificate (NAME.pem), or the folder with it.")
    key_file: Path | None = key(_FILE, "Its key; NAME.key beside it.", default=None)
    ca_file: Path | None = key(
        _FILE, f"Who signed the hosts' certificates; {CA_NAME} beside it.", default=None
    )
    passphrase_file: Path | None = key(
        _FILE, f"Its first line opens the key; else {VARIABLE}, or a terminal.", default=None
    )


@dataclass(frozen=True, slots=True)
class Given:
    """What a command line says; None where it says nothing."""

    settings: Path | None = None
    identity: Path | None = None
    key_file: Path | None = None
    ca_file: Path | None = None
    passphrase_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an identity; without `passphrase_file` one is asked for when it is needed."""

    certificate: Path
    key: Path
    ca: Path
    passphrase_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Ready for use, by any number of threads."""

    context: ssl.SSLContext
    files: Files


def find(given: Given, environment: Mapping[str, str], home: Path) -> Files:
    """The identity that is meant.

    The options take the place of the file's keys. With an identity among them, only a file that is
    named beside it is read: its key is no other's.

    Args:
        given: the command line.
        environment: may name the file.
        home: where the default file is.

    Raises:
        InputError: nothing says who we are, or what says it is wrong.
    """
    known = _known(given, environment, home)
    identity = given.identity or (known.identity if known else None)
    if identity is None:
        raise InputError(
            "nothing says who you are: give --identity NAME.pem (from `bedplate pki issue`), or "
            f"write it to ~/{DEFAULT_FILE}, or name such a file by --settings or {FILE_VARIABLE}"
        )
    certificate = _certificate(identity)
    of_file = known if known and given.identity is None else None
    own_key = given.key_file or (of_file.key_file if of_file else None)
    files = Files(
        certificate=certificate,
        key=own_key or certificate.with_suffix(".key"),
        ca=given.ca_file or (known and known.ca_file) or certificate.with_name(CA_NAME),
        passphrase_file=given.passphrase_file or (known.passphrase_file if known else None),
    )
    for path, option in ((files.key, "--key-file"), (files.ca, "--ca-file")):
        if not path.is_file():
            raise InputError(f"{path}: no such file; if it is elsewhere, give {option}")
    return files


def read_file(path: Path) -> HostFile:
    """A host.yaml.

    Raises:
        InputError: it cannot be read, or is wrong; with every problem and its place.
    """
    reading = Reading()
    try:
        found = Section(HostFile).read(read(path), reading)
    except Wrong:
        raise DocumentError(reading.problems) from None
    assert isinstance(found, HostFile)  # noqa: S101 (a section reads its model)
    return found


def load(files: Files, passphrase: PassphraseSource | None = None) -> Identity:
    """Read an identity's files; asks for the passphrase once, if the key is encrypted.

    Raises:
        PassphraseError: there is none.
        BedplateError: a file is not what it should be, or the passphrase is another's.
    """
    ask = passphrase or from_surroundings(files.passphrase_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(files.ca)
    except (OSError, ValueError) as error:
        raise BedplateError(f"{files.ca}: expected CA certificates in PEM: {error}") from error
    try:
        context.load_cert_chain(
            files.certificate, files.key, password=lambda: ask(f"key {files.key}")
        )
    except ssl.SSLError as error:
        raise BedplateError(
            f"{files.certificate} with {files.key}: {_of_tls(error)}: expected a certificate and "
            "its key in PEM, and the passphrase of the key"
        ) from error
    except (OSError, ValueError) as error:
        raise BedplateError(f"{files.certificate} with {files.key}: {error}") from error
    return Identity(context, files)


def _of_tls(error: ssl.SSLError) -> str:
    """OpenSSL says only `PEM lib` of a key that a passphrase does not open."""
    reason = error.reason or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is of another certificate"
    return f"not to be read ({reason.replace('_', ' ').lower() or 'PEM'})"


def _known(given: Given, environment: Mapping[str, str], home: Path) -> HostFile | None:
    if given.settings is not None:
        return read_file(given.settings)
    if given.identity is not None:
        return None
    if named := environment.get(FILE_VARIABLE):
        return read_file(Path(named))
    default = home / DEFAULT_FILE
    return read_file(default) if default.exists() else None


def _certificate(identity: Path) -> Path:
    """The certificate that a path means: itself, or the one with a key in the folder."""
    if not identity.is_dir():
        if not identity.is_file():
            raise InputError(f"{identity}: no such file; expected a certificate (NAME.pem)")
        return identity
    pairs = sorted(each for each in identity.glob("*.pem") if each.with_suffix(".key").is_file())
    if len(pairs) == 1:
        return pairs[0]
    found = ", ".join(each.name for each in pairs) or "none"
    raise InputError(
        f"{identity}: expected one certificate with its key (NAME.pem, NAME.key); there: {found}"
    )
