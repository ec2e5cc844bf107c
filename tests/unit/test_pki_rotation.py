"""Another authority, seen by a host's TLS: whom it lets in at each step, and whom no more."""

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from builder.pki import issuing, rotating
from builder.pki.certificate import Kind
from builder.pki.folder import Folder
from hostapi import tls
from pki_kit import PASSPHRASE, Clock, Host, new_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = new_folder(tmp_path / "pki")
    issuing.issue(found, Kind.HOST, "web-1", addresses=["10.0.0.5"])
    return found


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path / "host", Clock())


def takes_over(host: Host, folder: Folder) -> None:
    """Give the host what the folder has, as a new document would."""
    host.trusts(folder)
    host.brings(folder, "web-1")
    host.keeper.keep()


def client(folder: Folder, name: str) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.load_verify_locations(folder.path / "ca.pem")
    found.load_cert_chain(folder.certificate_file(name), folder.key_file(name), PASSPHRASE)
    return found


def meets(host: Host, theirs: ssl.SSLContext) -> str:
    """The role by which the host's server takes a client.

    Raises:
        ssl.SSLError: either side refuses the other.
    """
    ours = tls.context(host.places.runtime)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(to_server, to_client, server_side=True)
    asker = theirs.wrap_bio(to_client, to_server, server_hostname="10.0.0.5")
    for _ in range(4):
        for side in (asker, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = x509.load_der_x509_certificate(server.getpeercert(binary_form=True) or b"")
    (role,) = shown.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)
    return str(role.value)


def test_a_host_takes_clients_of_both_authorities(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.OPERATOR, "old")
    takes_over(host, folder)
    before = client(folder, "old")
    assert meets(host, before) == "bedplate:operator"

    rotating.begin(folder)
    takes_over(host, folder)
    assert meets(host, client(folder, "old")) == "bedplate:operator"

    rotating.use(folder)
    issuing.issue(folder, Kind.READER, "new")
    assert meets(host, client(folder, "new")) == "bedplate:reader"
    assert meets(host, client(folder, "old")) == "bedplate:operator"
    issuing.renew(folder, "web-1")
    takes_over(host, folder)
    assert meets(host, client(folder, "new")) == "bedplate:reader"
    former = client(folder, "old")
    assert meets(host, former) == "bedplate:operator"

    issuing.renew(folder, "old")
    rotating.finish(folder)
    takes_over(host, folder)
    assert meets(host, client(folder, "old")) == "bedplate:operator"
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed certificate"):
        meets(host, former)


def test_who_is_revoked_stays_out_when_the_host_has_the_list(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.OPERATOR, "anna")
    takes_over(host, folder)
    anna = client(folder, "anna")
    assert meets(host, anna) == "bedplate:operator"
    issuing.revoke(folder, "anna")
    takes_over(host, folder)
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate revoked"):
        meets(host, anna)


def test_a_stranger_and_a_host_are_no_clients_with_a_role(
    folder: Folder, host: Host, tmp_path: Path
) -> None:
    takes_over(host, folder)
    assert meets(host, client(folder, "web-1")) == "bedplate:host"
    other = new_folder(tmp_path / "other")
    issuing.issue(other, Kind.OPERATOR, "eve")
    eve = client(other, "eve")
    eve.load_verify_locations(folder.path / "ca.pem")
    with pytest.raises(ssl.SSLCertVerificationError):
        meets(host, eve)
