"""The folder of certificates: its register, and the files that are made from it.

register.json   what there is; every change is one write of it
ca.pem          all authorities to trust, the one that signs first
crl.pem         a revocation list of each
ca-<id>.key     an authority's key, encrypted
<name>.pem      a certificate, then its authority's
<name>.key      its key, encrypted unless somebody asked for it otherwise
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from builder.pki import register as registers
from builder.pki.certificate import Signer, load
from builder.pki.errors import PkiError, PkiInputError
from builder.pki.register import Authority, Register
from builder.trust.keys import load_private_key
from builder.trust.newfile import write_new
from builder.trust.passphrase import PassphraseSource
from builder.trust.pkcs8 import ScryptCost, encrypt
from updater.files import write_atomic
from updater.store import locked

_OTHERS = 0o077


class Folder:
    """One folder; its passphrase is asked for once, when a key is first needed.

    `clock` gives the time, aware, in whole seconds. `cost` is scrypt's, for keys that are written.
    """

    def __init__(
        self,
        path: Path,
        passphrases: PassphraseSource,
        *,
        clock: Callable[[], datetime] | None = None,
        cost: ScryptCost | None = None,
    ) -> None:
        self.path = path
        self.cost = cost
        self._clock = clock or (lambda: datetime.now(UTC))
        self._passphrases = passphrases
        self._passphrase: str | None = None
        self._signers: dict[str, Signer] = {}

    def now(self) -> datetime:
        """The time in whole seconds, as certificates have it."""
        return self._clock().replace(microsecond=0)

    def passphrase(self) -> str:
        """The folder's passphrase; asked for at the first call, then remembered."""
        if self._passphrase is None:
            self._passphrase = self._passphrases(f"the certificates in {self.path}")
        return self._passphrase

    def exists(self) -> bool:
        """Whether there is a register."""
        return self._register.exists()

    def read(self) -> Register:
        """What there is.

        Raises:
            PkiInputError: there is no such folder.
            PkiError: its register is broken.
        """
        try:
            data = self._register.read_bytes()
        except FileNotFoundError:
            raise PkiInputError(
                f"{self.path}: no certificates here; make an authority with bedplate pki init"
            ) from None
        return registers.parse(data, str(self._register))

    def begin(self, make: Callable[[], Register]) -> Register:
        """Write the first register.

        Raises:
            PkiInputError: there is one.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked():
            if self.exists():
                raise PkiInputError(
                    f"{self.path}: there is an authority already; bedplate pki rotate replaces it"
                )
            return self._save(make())

    def change(self, step: Callable[[Register], Register]) -> Register:
        """Take one step, and write what comes of it: all of it, or nothing.

        Raises:
            PkiError, OSError: nothing can be written; what was there stands.
        """
        self.read()
        with self._locked():
            before = self.read()
            after = step(before)
            if after == before:
                self._settle(before)
                return before
            return self._save(registers.cleared(after, self.now()))

    def signer(self, authority: Authority) -> Signer:
        """An authority with its key.

        Raises:
            PassphraseError: none was given, or the wrong one.
            KeyStoreError: the key is not there, or not as it must be.
        """
        if authority.ident not in self._signers:
            path = self.authority_key(authority.ident)
            key = load_private_key(path, self.passphrase())
            certificate = load(authority.certificate)
            if not isinstance(key, ec.EllipticCurvePrivateKey) or (
                key.public_key() != certificate.public_key()
            ):
                raise PkiError(f"{path}: not the key of the authority {authority.ident}")
            self._signers[authority.ident] = Signer(certificate, key)
        return self._signers[authority.ident]

    def remember(self, ident: str, signer: Signer) -> None:
        """Keep a new authority's key, before anything says that there is one."""
        key = encrypt(signer.key, self.passphrase(), self.cost)
        write_new(self.authority_key(ident), key, 0o600)
        self._signers[ident] = signer

    def authority_key(self, ident: str) -> Path:
        """Where an authority's key is."""
        return self.path / f"ca-{ident}.key"

    def certificate_file(self, name: str) -> Path:
        """Where a certificate is."""
        return self.path / f"{name}.pem"

    def key_file(self, name: str) -> Path:
        """Where its key is."""
        return self.path / f"{name}.key"

    def write_key(self, name: str, key: PrivateKeyTypes, passphrase: str | None) -> None:
        """Put a key into its file; without a passphrase it is not encrypted."""
        data = unencrypted(key) if passphrase is None else encrypt(key, passphrase, self.cost)
        write_atomic(self.key_file(name), data, mode=0o600)

    def read_key(self, name: str, passphrase: Callable[[], str]) -> PrivateKeyTypes:
        """A key of the folder, whether it is encrypted or not.

        Raises:
            KeyStoreError, PassphraseError: it is not there, open to others, or does not open.
        """
        path = self.key_file(name)
        if path.exists() and b"-----BEGIN PRIVATE KEY-----" in path.read_bytes():
            if path.stat().st_mode & _OTHERS:
                raise PkiError(f"{path}: others may read this key; close it with chmod 600")
            return load_pem_private_key(path.read_bytes(), None)
        return load_private_key(path, passphrase())

    @property
    def _register(self) -> Path:
        return self.path / "register.json"

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.path / ".lock", wait=True)

    def _save(self, register: Register) -> Register:
        write_atomic(self._register, registers.render(register), mode=0o600)
        self._settle(register)
        return register

    def _settle(self, register: Register) -> None:
        """Make the files what the register says; an earlier change may have been cut short."""
        trusted = register.trusted()
        wanted = {
            self.path / "ca.pem": "".join(each.certificate for each in trusted),
            self.path / "crl.pem": "".join(each.revocation_list for each in trusted),
        }
        for each in register.current():
            if each.filed:
                chain = each.certificate + register.authority(each.authority).certificate
                wanted[self.certificate_file(each.name)] = chain
        for path, text in wanted.items():
            data = text.encode()
            if not path.exists() or path.read_bytes() != data:
                write_atomic(path, data)


def unencrypted(key: PrivateKeyTypes) -> bytes:
    """A key in PKCS#8 without a passphrase."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
