"""The issuing service, over real TLS: who gets a certificate, and who does not."""

import json
import socket
import ssl
import threading
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from builder import cli
from builder.pki import certificate as certificates
from builder.pki import issuing, rotating, tokens
from builder.pki.certificate import Kind
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder, unencrypted
from builder.pki.granting import Granting
from builder.pki.rates import Rates
from builder.pki.service import Limits
from hostapi import enrol
from hostapi.enrol import EnrolError, make_request
from hostapi.examine import is_by
from pki_kit import Clock, asked, new_folder, serving, token_for


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> Folder:
    return new_folder(tmp_path / "pki", clock)


def request() -> str:
    return make_request(certificates.new_key())


def test_a_token_gets_a_certificate_for_that_host_alone(folder: Folder) -> None:
    token = token_for(folder, "web-1", ["web.example.org"])
    key = certificates.new_key()
    with serving(folder) as url:
        chain = enrol.enrol(asked(folder, url), token, "web-1", make_request(key))
    leaf, ca = x509.load_pem_x509_certificates(chain.encode())
    assert leaf.subject.rfc4514_string() == "CN=web-1,O=bedplate:host"
    assert leaf.public_key() == key.public_key()
    assert is_by(leaf, ca)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["web-1", "web.example.org"]
    assert not names.get_values_for_type(x509.IPAddress)
    assert not folder.certificate_file("web-1").exists()


@pytest.mark.parametrize(
    ("source", "known"), [("10.0.0.9", ["10.0.0.9"]), ("127.0.0.1", []), ("::1", [])]
)
def test_the_address_that_a_host_asks_from_is_in_its_certificate(
    folder: Folder, source: str, known: list[str]
) -> None:
    token = token_for(folder, "web-1", [])
    granting = Granting(folder, timedelta(days=9))
    granted = granting.enrol(token, "web-1", request().encode(), source)
    leaf, _ = x509.load_pem_x509_certificates(granted.chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == known


def test_a_used_token_lets_in_the_same_key_alone(folder: Folder) -> None:
    token = token_for(folder, "web-1")
    first = request()
    with serving(folder) as url:
        service = asked(folder, url)
        enrol.enrol(service, token, "web-1", first)
        enrol.enrol(service, token, "web-1", first)
        with pytest.raises(EnrolError, match="403: the token was used by another key"):
            enrol.enrol(service, token, "web-1", request())
    assert len(folder.read().issued) == 2


def test_a_token_is_one_hosts(folder: Folder) -> None:
    token = token_for(folder, "web-1")
    with serving(folder) as url:
        service = asked(folder, url)
        with pytest.raises(EnrolError, match="403: the token is another host's"):
            enrol.enrol(service, token, "web-2", request())
        with pytest.raises(EnrolError, match="403: there is no such token"):
            enrol.enrol(service, f"{token}A", "web-1", request())


def test_a_token_ends(folder: Folder, clock: Clock) -> None:
    clock.pass_by(hours=-24)
    token = token_for(folder, "web-1")
    clock.pass_by(hours=24)
    with serving(folder) as url, pytest.raises(EnrolError, match="403: the token ended at"):
        enrol.enrol(asked(folder, url), token, "web-1", request())


def test_only_a_hash_of_a_token_is_kept(folder: Folder) -> None:
    token = token_for(folder, "web-1")
    assert token not in (folder.path / "register.json").read_text()
    second = token_for(folder, "web-1")
    (kept,) = folder.read().tokens
    assert kept.digest == tokens.digest_of(second)


@pytest.mark.parametrize("hours", [0, 721])
def test_a_token_has_its_limits(folder: Folder, hours: int) -> None:
    with pytest.raises(PkiInputError, match=f"--hours {hours}"):
        tokens.new_token(folder, "web-1", hours=hours)


def test_a_name_with_a_certificate_in_the_folder_gets_no_token(folder: Folder) -> None:
    issuing.issue(folder, Kind.OPERATOR, "anna")
    with pytest.raises(PkiInputError, match="bedplate pki revoke anna"):
        token_for(folder, "anna")


def kept(tmp_path: Path, key: ec.EllipticCurvePrivateKey, chain: str) -> Path:
    path = tmp_path / "kept.pem"
    path.write_bytes(unencrypted(key) + chain.encode())
    return path


def test_a_host_renews_with_its_present_certificate(folder: Folder, tmp_path: Path) -> None:
    token, key, following = token_for(folder, "web-1"), certificates.new_key(), request()
    with serving(folder) as url:
        service = asked(folder, url)
        first = enrol.enrol(service, token, "web-1", make_request(key))
        present = kept(tmp_path, key, first)
        second = x509.load_pem_x509_certificate(enrol.renew(service, following, present).encode())
        assert second.subject.rfc4514_string() == "CN=web-1,O=bedplate:host"
        issuing.revoke(folder, "web-1")
        with pytest.raises(EnrolError, match="403: the certificate shown is revoked"):
            enrol.renew(service, following, present)


def test_who_was_shut_out_by_a_rotation_gets_no_certificate(folder: Folder, tmp_path: Path) -> None:
    token, key = token_for(folder, "web-1"), certificates.new_key()
    with serving(folder) as url:
        service = asked(folder, url)
        present = kept(tmp_path, key, enrol.enrol(service, token, "web-1", make_request(key)))
        rotating.begin(folder)
        rotating.use(folder)
        enrol.renew(service, request(), present)
        rotating.finish(folder, force=True)
        with pytest.raises(EnrolError, match=r"403: .* an authority that is trusted no more"):
            enrol.renew(service, request(), present)
    assert len(folder.read().issued) == 2


def test_a_hosts_own_certificate_is_renewed_by_the_command_that_is_told(folder: Folder) -> None:
    Granting(folder, timedelta(days=9)).enrol(
        token_for(folder, "web-1"), "web-1", request().encode(), "10.0.0.9"
    )
    with pytest.raises(PkiInputError, match="has enrolled and renews its") as caught:
        issuing.renew(folder, "web-1")
    command = str(caught.value).partition("bedplate ")[2]
    assert cli.parser().parse_args(command.split()).verb == "certificate-renew"


def test_nobody_else_renews(folder: Folder, tmp_path: Path) -> None:
    issuing.issue(folder, Kind.OPERATOR, "anna")
    issuing.issue(folder, Kind.HOST, "web-9")
    other = new_folder(tmp_path / "other")
    issuing.issue(other, Kind.HOST, "web-1")
    with serving(folder) as url:
        service = asked(folder, url)
        for name, message in (("anna", "none of a host"), ("web-9", "brought along")):
            chain = folder.certificate_file(name).read_text()
            key = folder.read_key(name, folder.passphrase)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            with pytest.raises(EnrolError, match=f"403.*{message}"):
                enrol.renew(service, request(), kept(tmp_path, key, chain))
        key = other.read_key("web-1", other.passphrase)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        stranger = kept(tmp_path, key, other.certificate_file("web-1").read_text())
        with pytest.raises(EnrolError):
            enrol.renew(service, request(), stranger)
        with pytest.raises(EnrolError, match="403: a renewal needs the present certificate"):
            enrol._ask(service, enrol.RENEW_PATH, {"csr": request()}, None)
    assert {each.name for each in folder.read().issued} == {"anna", "web-9"}


def test_a_service_of_another_authority_is_not_believed(folder: Folder, tmp_path: Path) -> None:
    other = new_folder(tmp_path / "other")
    token = token_for(other, "web-1")
    with (
        serving(other) as url,
        pytest.raises(EnrolError, match="its certificate is not believed"),
    ):
        enrol.enrol(asked(folder, url), token, "web-1", request())
    assert other.read().issued == ()


def raw(folder: Folder, url: str, data: bytes) -> bytes:
    context = ssl.create_default_context(cafile=str(folder.path / "ca.pem"))
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 0))
    with (
        socket.create_connection(address, 10) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname) as stream,
    ):
        assert stream.version() == "TLSv1.3"
        stream.sendall(data)
        found = b""
        while piece := stream.recv(4096):
            found += piece
            if b"\r\n\r\n" in found and found.endswith(b"}"):
                break
        return found


def post(body: bytes, path: str = "/v1/enrol") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


GOOD = {"token": "A" * 43, "csr": request(), "name": "web-1"}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (post(b""), 400),
        (post(b"[" * 10000), 400),
        (post(b'{"token":1}'), 400),
        (post(json.dumps(GOOD).encode()), 403),
        (post(json.dumps(GOOD | {"name": "../x"}).encode()), 400),
        (post(json.dumps(GOOD | {"csr": "-----BEGIN X-----\nAAAA"}).encode()), 400),
        (post(json.dumps(GOOD | {"extra": 1}).encode()), 400),
        (post(b"x" * 20000), 413),
        (post(b"{}", "/v1/other"), 404),
        (b"GET /v1/enrol HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (post(b"{}", "/v1/renew"), 400),
    ],
)
def test_garbage_is_refused_in_the_one_form(
    folder: Folder, data: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(folder) as url:
        answer = raw(folder, url, data)
    assert int(answer.split()[1]) == status
    error = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert error["schema"] == 1
    assert set(error["error"]) == {"code", "message"}
    assert "A" * 43 not in caplog.text + str(error)


def test_an_old_tls_is_refused(folder: Folder) -> None:
    context = ssl.create_default_context(cafile=str(folder.path / "ca.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(folder) as url:
        parts = urlsplit(url)
        address = (str(parts.hostname), int(parts.port or 0))
        with socket.create_connection(address, 10) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname=parts.hostname)


def test_one_address_may_not_ask_too_often(folder: Folder) -> None:
    with serving(folder, limits=Limits(2, 0.0)) as url:
        codes = [int(raw(folder, url, post(b"{}")).split()[1]) for _ in range(4)]
    assert codes == [400, 400, 429, 429]


def test_rates_come_back_with_time_and_forget_the_oldest() -> None:
    rates = Rates(2, 0.5, most=2)
    assert [rates.allows("a", 0) for _ in range(3)] == [True, True, False]
    assert not rates.allows("a", 1)
    assert rates.allows("a", 3)
    assert rates.allows("b", 3)
    assert rates.allows("c", 3)
    assert len(rates._seen) == 2


def test_hosts_that_ask_at_once_all_get_one(folder: Folder) -> None:
    given = {f"web-{number}": token_for(folder, f"web-{number}") for number in range(8)}
    with serving(folder) as url:
        service = asked(folder, url)
        threads = [
            threading.Thread(target=enrol.enrol, args=(service, token, name, request()))
            for name, token in given.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {each.name for each in folder.read().issued} == given.keys()
