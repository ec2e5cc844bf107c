"""Certificate authorities: only whole certificates, and nothing else with them."""

import base64
import textwrap
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.certificates import certificates, in_pem
from cloudconfig.desired import Affects, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import trust
from hostkit.document.source import DocumentError

IMAGE = b"-----BEGIN CERTIFICATE-----\nimage\n-----END CERTIFICATE-----"
KEY = ec.generate_private_key(ec.SECP256R1())


@cache
def authority(name: str) -> str:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM).decode()


def rendered(*trusted: str, remove_defaults: bool = False, image: bytes = IMAGE) -> bytes:
    items = "".join("  - |\n" + textwrap.indent(text, "    ") + "\n" for text in trusted)
    text = f"#cloud-config\nca-certs:\n  remove-defaults: {remove_defaults}\n  trusted:\n{items}"
    config = read_document(text.encode(), Path("c.yaml")).config
    (item,) = trust.render(config, Facts(ca_bundle=image)).items
    assert isinstance(item, File)
    assert item.path == PurePosixPath("/etc/ssl/certs/ca-certificates.crt")
    assert item.mode == 0o644
    assert item.affects == (Affects("bedplate-updated.service"),)
    return item.content


def test_given_certificates_follow_the_images() -> None:
    first, second = authority("first"), authority("second")
    both = f"a comment\n{second}another\n{first}"
    assert rendered(first, both) == IMAGE + f"\n{first}{second}".encode()


def test_the_images_can_go() -> None:
    assert rendered(authority("first"), remove_defaults=True) == authority("first").encode()


def test_a_workstation_has_no_bundle() -> None:
    assert rendered(authority("first"), image=b"") == authority("first").encode()


def test_nothing_trusted_leaves_the_bundle_alone() -> None:
    config = read_document(b"#cloud-config\nca_certs: {trusted: []}\n", Path("c.yaml")).config
    assert trust.render(config, Facts(ca_bundle=IMAGE)).items == ()


def cut(pem: str) -> str:
    lines = pem.splitlines()
    return "\n".join([lines[0], *lines[1:3], lines[-1]])


PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "c.yaml:5:5: no whole -----BEGIN CERTIFICATE----- block"),
        (authority("first").partition("-----END")[0], "no whole -----BEGIN CERTIFICATE"),
        (cut(authority("first")), "block 1 is no X.509 certificate, or is cut short"),
        (authority("first") + PRIVATE, "block 2 is a private key, not a certificate"),
        (authority("first").replace("\nM", "\n!"), "no whole -----BEGIN CERTIFICATE"),
        (authority("first").replace("\nM", "\nMA=A"), "block 1 is no valid base64"),
        (in_pem(b"\x30\x03\x02\x01\x01"), "block 1 is no X.509 certificate"),
    ],
)
def test_what_is_no_certificate_is_refused_in_its_place(text: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        rendered(text)
    assert message in str(caught.value)
    assert PRIVATE.splitlines()[1] not in str(caught.value)


def test_nobody_at_all_cannot_be_trusted() -> None:
    with pytest.raises(DocumentError, match="not even updates"):
        read_document(b"#cloud-config\nca_certs: {remove_defaults: true}\n", Path("c.yaml"))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("3006300030000300", True),
        ("30083000300003000500", False),  # something after the signature
        ("3004300030000300", False),  # the signature after the end
        ("30063000300003000500", False),  # something after the end
        ("3006300030000400", False),
        ("308006300030000300", False),  # no length at all, as DER never has it
        ("30850000000006300030000300", False),
    ],
)
def test_a_certificate_is_three_parts_and_no_more(text: str, *, right: bool) -> None:
    try:
        certificates(in_pem(bytes.fromhex(text)))
    except ValueError:
        assert not right
    else:
        assert right


DER = certificates(authority("first"))[0]


@given(st.integers(0, len(DER) - 1))
def test_a_cut_certificate_is_none(length: int) -> None:
    with pytest.raises(ValueError, match="block 1"):
        certificates(in_pem(DER[:length]))


@given(st.text() | st.binary().map(in_pem) | st.binary().map(lambda tail: in_pem(DER + tail)))
def test_whatever_comes_is_certificates_or_a_value_error(text: str) -> None:
    try:
        found = certificates(text)
    except ValueError:
        return
    assert base64.b64encode(found[0])[:8] in text.encode()
    assert found == (DER,)
