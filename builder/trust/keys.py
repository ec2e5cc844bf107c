"""The key store: a folder of encrypted private keys and their public parts.

`<name>.pem` is an encrypted PKCS#8 file of mode 0600, `<name>.pub` its public part. A key whose
private part lives elsewhere (a PKCS#11 token, a cloud's key service) has only the `.pub`, with
the securesystemslib URI to reach it.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

# securesystemslib 1.2 ships no type information; `Signer` in tuf_types says what we use.
from securesystemslib.signer import CryptoSigner  # type: ignore[import-untyped]
from securesystemslib.signer import Signer as UriSigner

from builder.trust import publickey
from builder.trust.errors import (
    KeyStoreError,
    PassphraseError,
    ReleaseInputError,
    UnreachableKeyError,
)
from builder.trust.newfile import write_new
from builder.trust.passphrase import PassphraseSource, check_strength
from builder.trust.pkcs8 import ScryptCost, encrypt
from builder.trust.publickey import PublicPart
from builder.trust.tuf_types import Signer

_LOG = logging.getLogger(__name__)
_FILE_SCHEME = "file:"
_OTHERS = 0o077


class KeyStore:
    """One folder of keys; its passphrase is asked for once, when a private key is first needed."""

    def __init__(self, folder: Path, passphrases: PassphraseSource) -> None:
        self.folder = folder
        self._passphrases = passphrases
        self._passphrase: str | None = None
        self._signers: dict[str, Signer] = {}

    def passphrase(self) -> str:
        """The store's passphrase; asked for at the first call, then remembered."""
        if self._passphrase is None:
            self._passphrase = self._passphrases(f"key store {self.folder}")
        return self._passphrase

    def public_parts(self) -> Iterator[PublicPart]:
        """Every key of the store, by name."""
        if not self.folder.is_dir():
            raise KeyStoreError(f"{self.folder}: no such key store; make one with bedplate keygen")
        for path in sorted(self.folder.glob(f"*{publickey.SUFFIX}")):
            yield publickey.read(path)

    def has_private(self, part: PublicPart) -> bool:
        """Whether this store can sign with the key: its file is here, or a URI leads to it."""
        if part.uri is None or part.uri.startswith(_FILE_SCHEME):
            return self._private_path(part).exists()
        return True

    def signer(self, part: PublicPart) -> Signer:
        """What signs with this key.

        Raises:
            PassphraseError: none was given, or the wrong one.
            KeyStoreError: the private part is missing, open to others, or is another key's.
            UnreachableKeyError: the token or service of its URI does not answer.
        """
        if part.name not in self._signers:
            self._signers[part.name] = self._make_signer(part)
        return self._signers[part.name]

    def private_key(self, name: str) -> PrivateKeyTypes:
        """The decrypted key `<name>.pem`, for signatures that TUF has no part in."""
        return load_private_key(self.folder / f"{name}.pem", self.passphrase())

    def _private_path(self, part: PublicPart) -> Path:
        if part.uri is None:
            return self.folder / f"{part.name}.pem"
        return self.folder / part.uri.removeprefix(_FILE_SCHEME)

    def _make_signer(self, part: PublicPart) -> Signer:
        if part.uri is None or part.uri.startswith(_FILE_SCHEME):
            path = self._private_path(part)
            private = load_private_key(path, self.passphrase())
            held = publickey.from_public_key(part.name, private.public_key())
            if held.key.keyval != part.key.keyval:
                raise KeyStoreError(
                    f"{path}: is not the private part of {part.name}{publickey.SUFFIX}"
                )
            signer: Signer = CryptoSigner(private, part.key)
            return signer
        try:
            signer = UriSigner.from_priv_key_uri(
                part.uri, part.key, lambda _what: self.passphrase()
            )
        except PassphraseError:
            raise
        except Exception as error:  # each securesystemslib signer raises its own library's errors
            raise UnreachableKeyError(f"key {part.name!r} at {part.uri}: {error}") from error
        return signer


class KeyRing:
    """The keys of one or more stores, so that two people's media can sign together."""

    def __init__(self, stores: Sequence[KeyStore]) -> None:
        self._places: dict[str, tuple[KeyStore, PublicPart]] = {}
        self._by_name: dict[str, PublicPart] = {}
        for store in stores:
            for part in store.public_parts():
                self._add(store, part)

    def names(self) -> list[str]:
        """The names of all keys, sorted."""
        return sorted(self._by_name)

    def named(self, name: str) -> PublicPart:
        """The key of that name.

        Raises:
            ReleaseInputError: no store has it.
        """
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(self.names()) or "none"
            raise ReleaseInputError(f"no key named {name!r}; the key store has: {known}") from None

    def signers(self, keyids: Sequence[str]) -> list[Signer]:
        """Signers for those of `keyids` whose private part is at hand, in that order.

        A token or a service that cannot be reached is passed over with a warning: others may do.

        Raises:
            PassphraseError, KeyStoreError: as `KeyStore.signer`.
        """
        signers = []
        for store, part in (self._places[keyid] for keyid in keyids if keyid in self._places):
            if not store.has_private(part):
                continue
            try:
                signers.append(store.signer(part))
            except UnreachableKeyError as error:
                _LOG.warning("%s; going on without it", error)
        return signers

    def _add(self, store: KeyStore, part: PublicPart) -> None:
        known = self._by_name.setdefault(part.name, part)
        if known.key.keyid != part.key.keyid:
            raise KeyStoreError(
                f"two different keys are named {part.name!r}, one of them in {store.folder}; "
                "give one of them another name"
            )
        place = self._places.get(part.key.keyid)
        if place is None or not place[0].has_private(place[1]):
            self._places[part.key.keyid] = (store, part)


def generate(
    folder: Path, names: Sequence[str], passphrase: str, cost: ScryptCost | None = None
) -> list[PublicPart]:
    """Make ed25519 keys in `folder` (made with mode 0700); no file is ever replaced.

    Raises:
        KeyStoreError: one of the names is taken; nothing was made.
        PassphraseError: the passphrase is too short, or not that of the keys already there.
    """
    check_strength(passphrase)
    for name in names:
        publickey.check_name(name)
        if taken := [path for path in key_files(folder, name) if path.exists()]:
            raise KeyStoreError(f"{taken[0]}: exists already; keys are never overwritten")
    prepare_folder(folder)
    check_passphrase(folder, passphrase)
    parts = []
    for name in names:
        private = Ed25519PrivateKey.generate()
        part = publickey.from_public_key(name, private.public_key())
        write_new(folder / f"{name}.pem", encrypt(private, passphrase, cost), 0o600)
        write_new(folder / f"{name}{publickey.SUFFIX}", publickey.encode(part), 0o644)
        parts.append(part)
    return parts


def check_passphrase(folder: Path, passphrase: str) -> None:
    """Refuse a passphrase that does not open the keys that are in `folder` already.

    A store has one passphrase; that is what lets a person be asked for it once.
    """
    for path in sorted(folder.glob("*.pem"))[:1]:
        load_private_key(path, passphrase)


def refer(folder: Path, part: PublicPart) -> None:
    """Put the public part of a key that lives elsewhere (`part.uri`) into the store."""
    publickey.check_name(part.name)
    prepare_folder(folder)
    path = folder / f"{part.name}{publickey.SUFFIX}"
    try:
        write_new(path, publickey.encode(part), 0o644)
    except FileExistsError:
        raise KeyStoreError(f"{path}: exists already; keys are never overwritten") from None


def complete(folder: Path, name: str, passphrase: str) -> PublicPart:
    """Write the `.pub` of a key whose making was interrupted between its two files."""
    private = load_private_key(folder / f"{name}.pem", passphrase)
    part = publickey.from_public_key(name, private.public_key())
    write_new(folder / f"{name}{publickey.SUFFIX}", publickey.encode(part), 0o644)
    return part


def key_files(folder: Path, name: str) -> tuple[Path, Path]:
    """The private and the public file of a TUF key."""
    return folder / f"{name}.pem", folder / f"{name}{publickey.SUFFIX}"


def prepare_folder(folder: Path) -> None:
    """Make the key store's folder, closed to others."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def load_private_key(path: Path, passphrase: str) -> PrivateKeyTypes:
    """Read an encrypted PKCS#8 PEM file.

    Raises:
        PassphraseError: the passphrase is not this key's.
        KeyStoreError: no such file, open to others, not encrypted, or not a key.
    """
    try:
        if path.stat().st_mode & _OTHERS:
            raise KeyStoreError(f"{path}: others may read this key; close it with chmod 600")
        data = path.read_bytes()
    except OSError as error:
        raise KeyStoreError(f"{path}: the private key cannot be read: {error.strerror}") from error
    if b"-----BEGIN ENCRYPTED PRIVATE KEY-----" not in data:
        raise KeyStoreError(f"{path}: not an encrypted PKCS#8 private key")
    try:
        return load_pem_private_key(data, passphrase.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # A damaged file and a wrong passphrase look alike once decrypted.
        raise PassphraseError(f"{path}: wrong passphrase, or the file is damaged") from error
