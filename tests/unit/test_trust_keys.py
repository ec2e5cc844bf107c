import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import (  # type: ignore[import-untyped]  # ships no types
    SIGNER_FOR_URI_SCHEME,
    CryptoSigner,
)

from builder.trust import certificates, passphrase, publickey
from builder.trust.errors import KeyStoreError, PassphraseError, ReleaseInputError
from builder.trust.keys import KeyRing, complete, generate, load_private_key, refer
from builder.trust.pkcs8 import ScryptCost, encrypt
from trust_kit import CHEAP, PASSPHRASE, make_store, open_store
from updater.errors import BedplateError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    generate(tmp_path / "keys", ["one", "two"], PASSPHRASE, CHEAP)
    return tmp_path / "keys"


def test_the_library_opens_what_we_encrypt() -> None:
    for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
        opened = load_pem_private_key(encrypt(key, "päss wörd", CHEAP), "päss wörd".encode())
        assert opened.public_key() == key.public_key()


def test_the_default_cost_is_within_what_openssl_reads() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert load_pem_private_key(encrypt(key, PASSPHRASE), PASSPHRASE.encode())
    cost = ScryptCost()
    assert 128 * cost.n * cost.r <= 32 << 20
    assert cost.n * cost.r * cost.p >= 5 * 2**17  # OWASP's figure for scrypt


@settings(max_examples=30)
@given(secret=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60))
def test_any_passphrase_opens_its_own_key(secret: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    opened = load_pem_private_key(encrypt(key, secret, CHEAP), secret.encode())
    assert opened.public_key() == key.public_key()


def test_private_files_are_encrypted_and_closed(store: Path) -> None:
    assert stat.S_IMODE(store.stat().st_mode) == 0o700
    for name in ("one", "two"):
        path = store / f"{name}.pem"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        with pytest.raises(TypeError):
            load_pem_private_key(path.read_bytes(), None)
    assert [path.name for path in sorted(store.iterdir())] == [
        "one.pem",
        "one.pub",
        "two.pem",
        "two.pub",
    ]


def test_a_key_signs_and_its_public_part_verifies(store: Path) -> None:
    ring = KeyRing([open_store(store)])
    key = ring.named("one").key
    (signer,) = ring.signers([key.keyid])
    signature = signer.sign(b"payload")
    signer.public_key.verify_signature(signature, b"payload")
    assert signer.public_key.keyid == key.keyid


def test_wrong_passphrase_is_one_clear_error(store: Path) -> None:
    ring = KeyRing([open_store(store, "not the horse")])
    with pytest.raises(PassphraseError, match=r"one\.pem: wrong passphrase") as error:
        ring.signers([ring.named("one").key.keyid])
    assert "\n" not in str(error.value)


def test_a_key_open_to_others_is_refused(store: Path) -> None:
    (store / "one.pem").chmod(0o640)
    with pytest.raises(KeyStoreError, match="chmod 600"):
        load_private_key(store / "one.pem", PASSPHRASE)


def test_a_bare_key_is_refused(store: Path) -> None:
    signer = CryptoSigner.generate_ed25519()
    (store / "one.pem").write_bytes(signer.private_bytes)
    with pytest.raises(KeyStoreError, match="not an encrypted"):
        load_private_key(store / "one.pem", PASSPHRASE)


def test_a_private_file_of_another_key_is_refused(store: Path) -> None:
    (store / "one.pem").write_bytes((store / "two.pem").read_bytes())
    ring = KeyRing([open_store(store)])
    with pytest.raises(KeyStoreError, match="not the private part of one"):
        ring.signers([ring.named("one").key.keyid])


def test_keys_are_never_overwritten(store: Path) -> None:
    before = {path: path.read_bytes() for path in store.iterdir()}
    with pytest.raises(KeyStoreError, match=r"two\.pem: exists already"):
        generate(store, ["three", "two"], PASSPHRASE, CHEAP)
    (store / "two.pem").unlink()
    with pytest.raises(KeyStoreError, match=r"two\.pub: exists already"):
        generate(store, ["two"], PASSPHRASE, CHEAP)
    (store / "two.pem").write_bytes(before[store / "two.pem"])
    assert {path: path.read_bytes() for path in store.iterdir()} == before


def test_one_store_has_one_passphrase(store: Path) -> None:
    with pytest.raises(PassphraseError):
        generate(store, ["three"], "another passphrase", CHEAP)
    assert not (store / "three.pem").exists()


def test_an_interrupted_key_is_completed(store: Path) -> None:
    before = (store / "one.pub").read_bytes()
    (store / "one.pub").unlink()
    complete(store, "one", PASSPHRASE)
    assert (store / "one.pub").read_bytes() == before


@pytest.mark.parametrize("name", ["", "../up", "Root", "a--b", "a b", "x" * 65, "-a"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(ReleaseInputError, match="no key name"):
        generate(tmp_path / "keys", [name], PASSPHRASE, CHEAP)
    assert not (tmp_path / "keys").exists()


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PassphraseError, match="8 or more"):
        generate(tmp_path / "keys", ["one"], "short", CHEAP)


def test_where_the_passphrase_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "passphrase"
    file.write_text("from the file\nsecond line\n")
    monkeypatch.setenv(passphrase.VARIABLE, "from the variable")
    assert passphrase.from_surroundings(file)("x") == "from the file"
    assert passphrase.from_surroundings(None)("x") == "from the variable"
    monkeypatch.setenv(passphrase.VARIABLE, "")
    with pytest.raises(PassphraseError, match="set but empty"):
        passphrase.from_surroundings(None)("x")
    monkeypatch.delenv(passphrase.VARIABLE)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(PassphraseError, match="no passphrase for key store x"):
        passphrase.from_surroundings(None)("key store x")
    file.write_text("\n")
    with pytest.raises(PassphraseError, match="no passphrase"):
        passphrase.from_surroundings(file)("x")
    with pytest.raises(PassphraseError, match="cannot be read"):
        passphrase.from_surroundings(tmp_path / "none")("x")


def test_a_terminal_is_asked_twice_for_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(passphrase.VARIABLE, raising=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answers = iter(["typed one", "typed two"])
    monkeypatch.setattr("getpass.getpass", lambda _prompt: next(answers))
    with pytest.raises(PassphraseError, match="differ"):
        passphrase.from_surroundings(None, confirm=True)("x")


class FakeToken(CryptoSigner):  # type: ignore[misc]  # securesystemslib ships no types
    """A signer behind a URI, as a PKCS#11 token is, that asks for a PIN."""

    private = ec.generate_private_key(ec.SECP256R1())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: object, secrets_handler: Callable[[str], str] | None
    ) -> "FakeToken":
        if priv_key_uri != "faketoken:7":
            raise ValueError("no such slot")
        assert secrets_handler is not None
        assert secrets_handler("pin") == PASSPHRASE
        return cls(cls.private, public_key)


@pytest.fixture
def token_public_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "faketoken", FakeToken)
    public = FakeToken.private.public_key()
    path = tmp_path / "token.pem"
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def test_a_token_takes_a_files_place(store: Path, token_public_part: Path) -> None:
    refer(store, publickey.from_pem("token", token_public_part, "faketoken:7"))
    ring = KeyRing([open_store(store)])
    key = ring.named("token").key
    assert key.scheme == "ecdsa-sha2-nistp256"
    (signer,) = ring.signers([key.keyid])
    assert signer.sign(b"payload")
    with pytest.raises(KeyStoreError, match="never overwritten"):
        refer(store, publickey.from_pem("token", token_public_part, "faketoken:7"))


@pytest.mark.parametrize("uri", ["faketoken:8", "nosuchscheme:1"])
def test_others_sign_for_a_token_that_is_not_there(
    store: Path, token_public_part: Path, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    refer(store, publickey.from_pem("token", token_public_part, uri))
    ring = KeyRing([open_store(store)])
    signers = ring.signers([ring.named(name).key.keyid for name in ("token", "one")])
    assert [signer.public_key.keyid for signer in signers] == [ring.named("one").key.keyid]
    assert f"key 'token' at {uri}" in caplog.text


def test_a_file_uri_leads_to_another_folder(store: Path, tmp_path: Path) -> None:
    (store / "one.pem").rename(tmp_path / "elsewhere.pem")
    fields = json.loads((store / "one.pub").read_text())
    fields["uri"] = f"file:{tmp_path}/elsewhere.pem"
    (store / "one.pub").write_text(json.dumps(fields))
    ring = KeyRing([open_store(store)])
    assert len(ring.signers([ring.named("one").key.keyid])) == 1


def test_a_public_part_alone_signs_nothing(store: Path) -> None:
    (store / "one.pem").unlink()
    ring = KeyRing([open_store(store)])
    assert ring.signers([ring.named("one").key.keyid]) == []


def test_two_stores_sign_together(tmp_path: Path) -> None:
    generate(tmp_path / "a", ["one"], PASSPHRASE, CHEAP)
    generate(tmp_path / "b", ["two"], "another passphrase", CHEAP)
    (tmp_path / "a/two.pub").write_bytes((tmp_path / "b/two.pub").read_bytes())
    ring = KeyRing([open_store(tmp_path / "a"), open_store(tmp_path / "b", "another passphrase")])
    keyids = [ring.named(name).key.keyid for name in ("one", "two")]
    assert len(ring.signers(keyids)) == 2


def test_two_keys_of_one_name_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        generate(tmp_path / folder, ["one"], PASSPHRASE, CHEAP)
    with pytest.raises(KeyStoreError, match="two different keys are named 'one'"):
        KeyRing([open_store(tmp_path / "a"), open_store(tmp_path / "b")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "schema 2"),
        ({"name": "two"}, "file and name must agree"),
        ({"extra": 1}, "expected exactly the keys"),
        ({"keytype": 5}, "not a usable public key"),
        ({"scheme": "nonsense"}, "not a usable public key"),
        ({"keyval": {}}, "not a usable public key"),
        ({"uri": 5}, "uri must be a string"),
    ],
)
def test_a_public_file_is_read_strictly(
    store: Path, change: dict[str, object], message: str
) -> None:
    fields = json.loads((store / "one.pub").read_text())
    (store / "one.pub").write_text(json.dumps(fields | change))
    with pytest.raises(BedplateError, match=message):
        publickey.read(store / "one.pub")


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(KeyStoreError, match="bedplate keygen"):
        KeyRing([open_store(tmp_path / "none")])


def test_default_names_are_all_made(tmp_path: Path) -> None:
    ring = KeyRing([open_store(make_store(tmp_path / "keys"))])
    assert {"root-1", "root-2", "root-3", "channel-stable"} <= set(ring.names())


@pytest.mark.parametrize("kind", certificates.KINDS)
def test_a_certificate_pair(tmp_path: Path, kind: certificates.CertificateKind) -> None:
    certificates.generate_pair(tmp_path, kind, PASSPHRASE, CHEAP)
    private_path, certificate_path = certificates.pair_files(tmp_path, kind)
    certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    private = load_private_key(private_path, PASSPHRASE)
    assert certificate.public_key() == private.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.not_valid_before_utc == certificates.NOT_BEFORE
    assert certificate.not_valid_after_utc == certificates.NOT_AFTER
    assert stat.S_IMODE(private_path.stat().st_mode) == 0o600
    with pytest.raises(KeyStoreError, match="never overwritten"):
        certificates.generate_pair(tmp_path, kind, PASSPHRASE, CHEAP)
    certificate_path.unlink()
    certificates.complete_pair(tmp_path, kind, private)
    again = x509.load_pem_x509_certificate(certificate_path.read_bytes())
    assert again.public_key() == private.public_key()
