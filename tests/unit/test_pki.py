"""`bedplate pki`: an authority, what it issues and takes back, and another authority after it."""

from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from builder.pki import certificate as certificates
from builder.pki import issuing, page, register, rotating
from builder.pki.certificate import Kind
from builder.pki.errors import PkiError, PkiInputError
from builder.pki.folder import Folder
from builder.pki.issuing import Person
from builder.pki.register import Stage
from builder.trust.errors import PassphraseError
from hostapi.enrol import make_request
from hostapi.examine import is_by
from pki_kit import PASSPHRASE, Clock, new_folder, opened
from updater import files

Extension = TypeVar("Extension", bound=x509.ExtensionType)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> Folder:
    return new_folder(tmp_path / "pki", clock)


def certificate(folder: Folder, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(folder.certificate_file(name).read_bytes())


def value(found: x509.Certificate, kind: type[Extension]) -> Extension:
    return found.extensions.get_extension_for_class(kind).value


def subject(found: x509.Certificate) -> str:
    return found.subject.rfc4514_string()


def test_an_authority_is_closed_to_others_and_signs_ends_of_chains(folder: Folder) -> None:
    (ca,) = x509.load_pem_x509_certificates((folder.path / "ca.pem").read_bytes())
    constraints = value(ca, x509.BasicConstraints)
    assert constraints == x509.BasicConstraints(ca=True, path_length=0)
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (key,) = folder.path.glob("ca-*.key")
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    revoked = x509.load_pem_x509_crl((folder.path / "crl.pem").read_bytes())
    assert len(revoked) == 0
    assert revoked.next_update_utc == folder.now() + timedelta(days=365)


def test_an_authority_is_made_once(folder: Folder) -> None:
    before = (folder.path / "ca.pem").read_bytes()
    with pytest.raises(PkiInputError, match="there is an authority already"):
        issuing.init(folder)
    assert (folder.path / "ca.pem").read_bytes() == before


def test_a_short_passphrase_protects_nothing(tmp_path: Path) -> None:
    with pytest.raises(PassphraseError, match="5 characters"):
        issuing.init(Folder(tmp_path, lambda _: "short"))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("kind", [Kind.READER, Kind.OPERATOR])
def test_a_persons_certificate_names_the_role(folder: Folder, kind: Kind) -> None:
    made = issuing.issue(folder, kind, "anna@example.org")
    found = certificate(folder, "anna@example.org")
    assert subject(found) == f"CN=anna@example.org,O={kind.value}"
    assert [*value(found, x509.ExtendedKeyUsage)] == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.ends - folder.now() == timedelta(days=30)
    assert folder.now() - made.start == timedelta(hours=1)
    key = folder.key_file("anna@example.org").read_bytes()
    assert load_pem_private_key(key, PASSPHRASE.encode()).public_key() == found.public_key()
    leaf, ca = x509.load_pem_x509_certificates(
        folder.certificate_file("anna@example.org").read_bytes()
    )
    assert is_by(leaf, ca)
    assert not is_by(ca, leaf)


def test_a_hosts_certificate_is_for_its_names(folder: Folder) -> None:
    issuing.issue(folder, Kind.HOST, "Web-1", addresses=["10.0.0.5", "fd00::0005", "w.example.org"])
    found = certificate(folder, "Web-1")
    assert subject(found) == "CN=Web-1,O=bedplate:host"
    names = value(found, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["web-1", "w.example.org"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == [
        "10.0.0.5",
        "fd00::5",
    ]


@pytest.mark.parametrize(
    "name", ["", ".x", "a/b", "ca", "CRL", "ca-0123abcd", "x" * 65, "a b", "é"]
)
def test_a_name_that_is_no_file_or_subject_is_refused(folder: Folder, name: str) -> None:
    with pytest.raises(PkiInputError, match="is no name here"):
        issuing.issue(folder, Kind.READER, name)


@pytest.mark.parametrize("address", ["", "a_b", "1.2.3.4/24", "-x", "*.example.org"])
def test_an_address_that_is_none_is_refused(folder: Folder, address: str) -> None:
    with pytest.raises(PkiInputError, match="is no IP address"):
        issuing.issue(folder, Kind.HOST, "web", addresses=[address])


@pytest.mark.parametrize(("kind", "days"), [(Kind.READER, 0), (Kind.HOST, 1), (Kind.HOST, 401)])
def test_a_life_has_its_limits(folder: Folder, kind: Kind, days: int) -> None:
    with pytest.raises(PkiInputError, match=f"--days {days}"):
        issuing.issue(folder, kind, "web", days=days)


@pytest.mark.parametrize("days", [0, 10951, 99999999999])
def test_so_have_lists(folder: Folder, days: int) -> None:
    issuing.issue(folder, Kind.READER, "anna")
    with pytest.raises(PkiInputError, match=f"--days {days}: expected 1 to 10950 for a list"):
        issuing.new_lists(folder, days=days)
    with pytest.raises(PkiInputError, match=f"--days {days}: expected 1 to 10950 for a list"):
        issuing.revoke(folder, "anna", days=days)
    assert folder.read().issued[0].revoked is None
    register = issuing.new_lists(folder, days=10950)
    assert register.issuing().list_ends == register.issuing().ends


def test_nothing_outlives_its_authority(folder: Folder, clock: Clock) -> None:
    clock.pass_by(days=3650 - 3)
    made = issuing.issue(folder, Kind.READER, "anna")
    assert made.ends == folder.read().issuing().ends


def test_a_name_is_taken_until_its_certificate_ends(folder: Folder, clock: Clock) -> None:
    first = issuing.issue(folder, Kind.READER, "anna")
    key = folder.key_file("anna").read_bytes()
    with pytest.raises(PkiInputError, match="bedplate pki renew anna"):
        issuing.issue(folder, Kind.OPERATOR, "anna")
    assert folder.key_file("anna").read_bytes() == key
    clock.pass_by(days=31)
    assert issuing.issue(folder, Kind.OPERATOR, "anna").serial != first.serial


def test_a_request_is_signed_and_its_key_stays_away(folder: Folder) -> None:
    key = certificates.new_key()
    person = Person(request=make_request(key).encode())
    issuing.issue(folder, Kind.OPERATOR, "anna", person=person)
    assert certificate(folder, "anna").public_key() == key.public_key()
    assert not folder.key_file("anna").exists()


def test_a_weak_key_or_another_ones_request_is_refused() -> None:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    weak = builder.sign(ec.generate_private_key(ec.SECP192R1()), hashes.SHA256())
    pem = weak.public_bytes(Encoding.PEM)
    with pytest.raises(PkiInputError, match="expected a key of"):
        certificates.read_request(pem)
    der = bytearray(weak.public_bytes(Encoding.DER))
    der[-1] ^= 1
    torn = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    with pytest.raises(PkiInputError, match="not signed by the key"):
        certificates.read_request(torn)
    with pytest.raises(PkiInputError, match="no certificate request"):
        certificates.read_request(b"hello")


def test_renewal_keeps_the_key_and_comes_when_a_third_is_left(folder: Folder, clock: Clock) -> None:
    first = issuing.issue(folder, Kind.HOST, "web", addresses=["10.0.0.5"])
    assert issuing.renew(folder, "web", if_due=True) == (first, False)
    clock.pass_by(days=61)
    second, renewed = issuing.renew(folder, "web", if_due=True)
    assert renewed
    assert second.ends - folder.now() == timedelta(days=90)
    found = certificate(folder, "web")
    assert found.serial_number == second.serial
    assert found.public_key() == certificates.load(first.certificate).public_key()
    names = value(found, x509.SubjectAlternativeName)
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.5"]


def test_what_is_not_there_cannot_be_renewed(folder: Folder) -> None:
    issuing.issue(folder, Kind.READER, "anna")
    with pytest.raises(PkiInputError, match="there are anna"):
        issuing.renew(folder, "otto")


def test_a_revoked_certificate_is_on_the_list_and_stays_so(folder: Folder, clock: Clock) -> None:
    first = issuing.issue(folder, Kind.READER, "anna")
    second, _ = issuing.renew(folder, "anna")
    other = issuing.issue(folder, Kind.READER, "otto")
    assert {each.serial for each in issuing.revoke(folder, "anna")} == {first.serial, second.serial}
    issuing.revoke(folder, f"{other.serial:X}".lower())
    clock.pass_by(days=1)
    issuing.new_lists(folder, days=10)
    found = x509.load_pem_x509_crl((folder.path / "crl.pem").read_bytes())
    assert {each.serial_number for each in found} == {first.serial, second.serial, other.serial}
    assert found.next_update_utc == folder.now() + timedelta(days=10)
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    assert number == 4
    with pytest.raises(PkiInputError, match="is revoked"):
        issuing.renew(folder, "anna")
    with pytest.raises(PkiInputError, match="no certificate of that name"):
        issuing.revoke(folder, "anna")


def test_the_next_authority_is_trusted_before_it_signs(folder: Folder) -> None:
    issuing.issue(folder, Kind.READER, "anna")
    old = folder.read().issuing().ident
    rotating.begin(folder)
    assert len(x509.load_pem_x509_certificates((folder.path / "ca.pem").read_bytes())) == 2
    assert (folder.path / "crl.pem").read_bytes().count(b"BEGIN X509 CRL") == 2
    assert issuing.issue(folder, Kind.READER, "otto").authority == old
    with pytest.raises(PkiInputError, match="under way"):
        rotating.begin(folder)
    rotating.use(folder)
    new = folder.read().issuing().ident
    assert new != old
    with pytest.raises(PkiInputError, match="of the former authority alone: anna, otto"):
        rotating.finish(folder)
    assert issuing.renew(folder, "anna", if_due=True)[0].authority == new
    issuing.revoke(folder, "otto")
    register = rotating.finish(folder)
    assert [each.stage for each in register.authorities] == [Stage.RETIRED, Stage.ISSUING]
    (left,) = x509.load_pem_x509_certificates((folder.path / "ca.pem").read_bytes())
    assert is_by(certificate(folder, "anna"), left)
    with pytest.raises(PkiInputError, match="on its way out"):
        rotating.finish(folder)
    with pytest.raises(PkiInputError, match="no next authority"):
        rotating.use(folder)


class Cut(Exception):  # noqa: N818 - it is the power's
    """The power is gone."""


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("verb", ["issue", "renew", "revoke", "rotate"])
def test_a_cut_at_any_write_leaves_all_or_nothing(
    tmp_path: Path, verb: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    folder = new_folder(tmp_path / "pki", clock)
    issuing.issue(folder, Kind.HOST, "web")
    left = number

    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        nonlocal left
        if left == 0:
            raise Cut
        left -= 1
        return real(path, target)

    def act(folder: Folder) -> object:
        match verb:
            case "issue":
                return issuing.issue(folder, Kind.OPERATOR, "anna")
            case "renew":
                return issuing.renew(folder, "web")
            case "revoke":
                return issuing.revoke(folder, "web")
        return rotating.begin(folder)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        with suppress(Cut):
            act(folder)
    again = opened(tmp_path / "pki", clock)
    # What was done already is refused, with this as the reason.
    with suppress(PkiInputError):
        act(again)
    issuing.new_lists(again)
    known = again.read()
    assert (again.path / "ca.pem").read_text() == "".join(
        each.certificate for each in known.trusted()
    )
    for each in known.current():
        found = certificate(again, each.name)
        assert found.serial_number == each.serial
        key = load_pem_private_key(again.key_file(each.name).read_bytes(), PASSPHRASE.encode())
        assert key.public_key() == found.public_key()


def test_a_file_that_was_lost_is_made_again_from_the_register(folder: Folder) -> None:
    issuing.issue(folder, Kind.READER, "anna")
    before = folder.certificate_file("anna").read_bytes()
    folder.certificate_file("anna").unlink()
    issuing.renew(folder, "anna", if_due=True)
    assert folder.certificate_file("anna").read_bytes() == before


def test_a_wrong_passphrase_changes_nothing(folder: Folder) -> None:
    wrong = Folder(folder.path, lambda _: "another one", clock=folder.now)
    before = sorted(path.name for path in folder.path.iterdir())
    with pytest.raises(PassphraseError):
        issuing.issue(wrong, Kind.READER, "anna")
    assert sorted(path.name for path in folder.path.iterdir()) == before
    assert folder.read().issued == ()


def test_a_name_that_cannot_be_a_hosts_leaves_no_key_behind(folder: Folder) -> None:
    with pytest.raises(PkiInputError, match="is no IP address"):
        issuing.issue(folder, Kind.HOST, "web_2")
    assert not folder.key_file("web_2").exists()


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"schema":2}', b"\xff"])
def test_a_broken_register_is_named(folder: Folder, text: bytes) -> None:
    files.write_atomic(folder.path / "register.json", text)
    with pytest.raises(PkiError, match=r"register\.json"):
        folder.read()


def test_a_register_reads_what_it_writes(folder: Folder) -> None:
    issuing.issue(folder, Kind.HOST, "web", addresses=["10.0.0.5"])
    issuing.revoke(folder, "web")
    known = folder.read()
    assert register.parse(register.render(known), "r") == known


def test_the_page_says_what_is_due(folder: Folder, clock: Clock) -> None:
    issuing.issue(folder, Kind.READER, "anna")
    look = page.Look(folder.read(), folder.now())
    assert look.warnings() == []
    clock.pass_by(days=25)
    look = page.Look(folder.read(), folder.now())
    assert look.warnings() == [
        f"anna ends on {look.now + timedelta(days=5):%Y-%m-%d}: bedplate pki renew anna"
    ]
    clock.pass_by(days=300)
    look = page.Look(folder.read(), folder.now())
    assert "revocation list" in look.warnings()[0]
    found = page.document(look)
    assert found["certificates"][0]["state"] == "ended"  # type: ignore[index]
    assert "PRIVATE" not in str(found)
