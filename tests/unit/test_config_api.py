"""`bedplate.api`: what a document may say, what comes of it, and what is told before it is used."""

import json
import sys
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
import yaml

from builder import config_cli
from builder.pki import document, issuing, rotating, snippet, tokens
from builder.pki.certificate import Kind
from builder.pki.folder import Folder
from cloudconfig.desired import Affects, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.api import Api
from cloudconfig.render import api
from hostkit.document.source import DocumentError
from pki_kit import Clock, new_folder
from updater import programs

AFFECTS = (
    Affects("bedplate-api-certificate.service"),
    Affects("bedplate-api-certificate.timer"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return new_folder(tmp_path / "pki")


def brought(folder: Folder, name: str = "web-1") -> str:
    made = issuing.issue(folder, Kind.HOST, name, addresses=["10.0.0.5"])
    return snippet.brought(folder, folder.read(), made)


def enrolling(folder: Folder, name: str = "web-1") -> str:
    secret, token = tokens.new_token(folder, name)
    return snippet.enrolling(folder.read(), token, secret, "https://10.0.0.1:7444")


def section(text: str) -> dict[str, object]:
    found = yaml.safe_load(text)["bedplate"]["api"]
    assert isinstance(found, dict)
    return found


def with_section(values: dict[str, object]) -> str:
    whole = {"hostname": "web-1", "bedplate": {"api": values}}
    return "#cloud-config\n" + yaml.safe_dump(whole)


def rendered(text: str) -> dict[str, File]:
    config = read_document(text.encode(), Path("c.yaml")).config
    items = api.render(config, Facts()).items
    assert all(isinstance(item, File) for item in items)
    return {item.path.name: item for item in items if isinstance(item, File)}


def parsed(text: str) -> Api:
    found = read_document(text.encode(), Path("c.yaml")).config.bedplate.api
    assert found
    return found


def test_a_brought_certificate_becomes_files(folder: Folder) -> None:
    files = rendered(brought(folder))
    assert {name: (each.mode, each.secret) for name, each in files.items()} == {
        "clients.pem": (0o644, False),
        "revoked.pem": (0o644, False),
        "host.pem": (0o644, False),
        "host.key": (0o600, True),
    }
    assert all(each.affects == AFFECTS for each in files.values())
    assert files["clients.pem"].path == PurePosixPath("/etc/bedplate/api/clients.pem")
    assert files["clients.pem"].content == (folder.path / "ca.pem").read_bytes()
    assert files["revoked.pem"].content == (folder.path / "crl.pem").read_bytes()
    assert files["host.pem"].content == folder.certificate_file("web-1").read_bytes()


def test_an_enrolment_becomes_a_file_for_root_alone(folder: Folder) -> None:
    file = rendered(enrolling(folder))["enrol.json"]
    assert (file.mode, file.secret) == (0o600, True)
    told = json.loads(file.content)
    assert told["url"] == "https://10.0.0.1:7444"
    assert told["hostname"] == "web-1"
    assert len(told["token"]) == 43


def test_another_port_is_told_to_the_socket(folder: Folder) -> None:
    values = section(brought(folder)) | {"port": 8443}
    files = rendered(with_section(values))
    assert files["port"].content == b"8443\n"
    assert files["50-port.conf"].content == b"[Socket]\nListenStream=\nListenStream=8443\n"


def test_a_document_without_it_has_no_api() -> None:
    assert rendered("#cloud-config\nhostname: web-1\n") == {}


def test_what_stands_around_a_certificate_comes_not_along(folder: Folder) -> None:
    values = section(brought(folder))
    values["ca"] = f"a comment\n{values['ca']}another"
    content = rendered(with_section(values))["clients.pem"].content
    assert content == (folder.path / "ca.pem").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ca": None}, "ca"),
        ({"ca": "hello"}, "no whole -----BEGIN CERTIFICATE----- block"),
        ({"crl": "hello"}, "no whole -----BEGIN X509 CRL----- block"),
        ({"crl": "CA"}, "block 1 is no revocation list"),
        ({"key": None}, "certificate and key belong together"),
        ({"key": "CA"}, "no whole -----BEGIN PRIVATE KEY----- block"),
        ({"key": "ENCRYPTED"}, "this key is encrypted"),
        ({"key": None, "certificate": None}, "one of certificate .* and enrol is needed"),
        ({"enrol": {"url": "https://a:1", "token": "A" * 43}}, "enrol beside certificate"),
        ({"enrol": {"url": "http://a:1", "token": "A" * 43}}, "is not an https URL"),
        ({"enrol": {"url": "https://a", "token": "A" * 43}}, "is not an https URL"),
        ({"enrol": {"url": "https://a:1/x", "token": "A" * 43}}, "is not an https URL"),
        ({"enrol": {"url": "https://a:1", "token": "SECRET !"}}, "this is not a token"),
        ({"port": 0}, "is not a whole number from 1 to 65535"),
    ],
)
def test_a_wrong_shape_is_an_error_that_shows_no_secret(
    folder: Folder, changes: dict[str, object], message: str
) -> None:
    values = section(brought(folder))
    words = {
        "CA": values["ca"],
        "ENCRYPTED": folder.key_file("web-1").read_text(),
    }
    for name, value in changes.items():
        values[name] = words.get(value, value) if isinstance(value, str) else value
    with pytest.raises(DocumentError, match=message) as caught:
        rendered(with_section({name: each for name, each in values.items() if each is not None}))
    assert "SECRET" not in str(caught.value)
    key = folder.key_file("web-1").read_text().splitlines()[1]
    assert key not in str(caught.value)


def test_a_right_document_is_valid_without_a_word(folder: Folder, tmp_path: Path) -> None:
    for name, text in (("brought", brought(folder)), ("enrols", enrolling(folder, "web-2"))):
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        assert config_cli.examine(file) == []


def test_a_key_of_another_certificate_is_told(folder: Folder, tmp_path: Path) -> None:
    values = section(brought(folder)) | {"key": section(brought(folder, "web-2"))["key"]}
    file = tmp_path / "c.yaml"
    file.write_text(with_section(values))
    (finding,) = config_cli.examine(file)
    (line,) = [
        number
        for number, each in enumerate(file.read_text().splitlines(), 1)
        if each.startswith("    key: ")
    ]
    assert str(finding) == f"{file}:{line}:10: bedplate.api.key: it is not the key of certificate"


def test_a_persons_certificate_is_no_hosts(folder: Folder) -> None:
    issuing.issue(folder, Kind.OPERATOR, "anna")
    values = section(brought(folder))
    found = document.examine(
        parsed(with_section(values | {"certificate": folder.certificate_file("anna").read_text()})),
        folder.now(),
    )
    assert [each.message.partition(": ")[0] for each in found.problems] == [
        "bedplate.api.key",
        "bedplate.api.certificate",
        "bedplate.api.certificate",
    ]


def test_a_certificate_of_another_authority_is_a_warning(folder: Folder, tmp_path: Path) -> None:
    other = new_folder(tmp_path / "other")
    values = section(brought(other))
    mine = section(brought(folder))
    found = document.examine(
        parsed(with_section(mine | {key: values[key] for key in ("certificate", "key")})),
        folder.now(),
    )
    assert found.problems == ()
    assert "no authority in ca signed it" in found.warnings[0].message


def test_each_authority_needs_a_list_where_there_is_one(folder: Folder) -> None:
    before = section(brought(folder))
    rotating.begin(folder)
    both = (folder.path / "ca.pem").read_text()
    found = document.examine(parsed(with_section(before | {"ca": both})), folder.now())
    assert "has no X509 CRL here" in found.problems[0].message
    lists = (folder.path / "crl.pem").read_text()
    found = document.examine(
        parsed(with_section(before | {"ca": both, "crl": lists})), folder.now()
    )
    assert found == document.Findings((), ())
    found = document.examine(parsed(with_section(before | {"crl": lists})), folder.now())
    assert "is none of ca's" in found.problems[0].message


def test_a_certificate_that_signs_nothing_is_no_authority(folder: Folder) -> None:
    values = section(brought(folder))
    found = document.examine(
        parsed(with_section(values | {"ca": values["certificate"]} | {"crl": values["crl"]})),
        folder.now(),
    )
    assert "is no certificate authority" in found.problems[0].message


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0, []),
        (-1, ["ca: ", "certificate: it is not valid before"]),
        (80, ["certificate: it ends on"]),
        (91, ["certificate: it ended on"]),
        (360, ["crl: it ends on", "certificate: it ended on"]),
        (366, ["crl: it ended on", "certificate: it ended on"]),
    ],
)
def test_time_is_never_an_error(folder: Folder, days: int, words: list[str]) -> None:
    found = document.examine(parsed(brought(folder)), Clock().now + timedelta(days=days))
    assert found.problems == ()
    assert len(found.warnings) == len(words)
    for said, word in zip(found.warnings, words, strict=True):
        assert word in said.message


def test_a_host_reads_it_without_cryptography() -> None:
    code = "import sys, cloudconfig.reading; print('cryptography' in sys.modules)"
    assert programs.run((sys.executable, "-c", code)).strip() == "False"
