"""What a host's cloud-config has to say of certificates, ready to be used or added to."""

from collections.abc import Mapping
from pathlib import Path

from builder.pki.certificate import Kind
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder, unencrypted
from builder.pki.register import Issued, Register, Token
from builder.pki.standing import Standing, block
from builder.trust.newfile import write_new
from updater.files import write_atomic


def brought(
    folder: Folder, register: Register, issued: Issued, before: Standing | None = None
) -> str:
    """The document of a host that brings its certificate and its key along.

    With one that is there `before`, it is that one with these instead of its own.

    Raises:
        PkiInputError: the certificate is none of a host.
        KeyStoreError, PassphraseError: its key is not here, or does not open.
    """
    if issued.kind is not Kind.HOST:
        raise PkiInputError(f"{issued.name}: a {issued.kind.word}; only hosts have a cloud-config")
    key = unencrypted(folder.read_key(issued.name, folder.passphrase)).decode()
    chain = issued.certificate + register.authority(issued.authority).certificate
    texts = {**_trusted(register), "certificate": chain, "key": key}
    if before:
        return before.with_texts(texts)
    return _document(issued.name, _blocks(texts))


def enrolling(register: Register, token: Token, secret: str, url: str) -> str:
    """The document of a host that enrols with a token."""
    told = [*_blocks(_trusted(register)), "enrol:", f"  url: {url}", f"  token: {secret}"]
    return _document(token.name, told)


def trusting(register: Register, before: Standing) -> str:
    """A document that is there, with the authorities and the lists of now."""
    return before.with_texts(_trusted(register))


def write(path: Path, text: str, *, replace: bool) -> None:
    """Put a document, which holds a secret, where only its owner reads it.

    Raises:
        PkiInputError: something is there already, and it is not to be replaced.
    """
    if replace:
        write_atomic(path, text.encode(), mode=0o600)
        return
    try:
        write_new(path, text.encode(), 0o600)
    except FileExistsError:
        raise PkiInputError(f"{path}: exists already; give another name") from None


def _trusted(register: Register) -> dict[str, str]:
    trusted = register.trusted()
    return {
        "ca": "".join(each.certificate for each in trusted),
        "crl": "".join(each.revocation_list for each in trusted),
    }


def _blocks(texts: Mapping[str, str]) -> list[str]:
    return [line for key, text in texts.items() for line in block(key, text)]


def _document(name: str, lines: list[str]) -> str:
    head = ["#cloud-config", f"hostname: {name}", "bedplate:", "  api:"]
    return "\n".join([*head, *(f"    {line}" for line in lines)]) + "\n"
