"""`bedplate pki`, down to its exit status and what it prints."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder import pki_cli
from builder.config_cli import examine
from builder.trust import passphrase
from pki_kit import PASSPHRASE
from updater.errors import run_main


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(passphrase.VARIABLE, PASSPHRASE)
    monkeypatch.chdir(tmp_path)


def pki(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    pki_cli.add_commands(parser.add_subparsers())
    args = parser.parse_args(["pki", *argv])
    return run_main(lambda: int(args.func(args)))


def answer(capsys: pytest.CaptureFixture[str]) -> Any:  # noqa: ANN401 - JSON is of any type
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    return found


def test_from_nothing_to_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert pki("init") == 0
    assert pki("issue", "operator", "anna") == 0
    assert pki("issue", "host", "web-1", "--address", "10.0.0.5", "--snippet", "web-1.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("pki: authority ")
    assert lines[1].startswith("pki/anna.pem: operator anna until ")
    assert Path("web-1.yaml").stat().st_mode & 0o777 == 0o600
    assert examine(Path("web-1.yaml")) == []
    assert pki("show", "--json") == 0
    shown = answer(capsys)
    assert [each["name"] for each in shown["certificates"]] == ["anna", "web-1"]
    assert shown["warnings"] == []


def test_a_token_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    pki("init")
    assert pki("token", "web-1", "--json") == 0
    out = capsys.readouterr().out
    token = json.loads(out[out.index("{") :])["token"]
    assert token not in Path("pki/register.json").read_text()
    assert pki("token", "web-1", "--url", "https://10.0.0.1:7444", "--snippet", "w.yaml") == 0
    assert examine(Path("w.yaml")) == []
    assert "token: " not in capsys.readouterr().out


def test_all_is_renewed_where_it_is_due(capsys: pytest.CaptureFixture[str]) -> None:
    pki("init")
    pki("issue", "reader", "anna")
    pki("issue", "host", "web-1", "--plain-key")
    capsys.readouterr()
    assert pki("renew", "--all", "--if-due", "--json") == 0
    assert [each["renewed"] for each in answer(capsys)["certificates"]] == [False, False]
    assert pki("renew", "web-1", "--snippet", "web-1.yaml") == 0
    assert examine(Path("web-1.yaml")) == []


_REST = """\
    port: 8443  # ours
  labels: {rack: r1}

# What it is for.
timezone: Europe/Berlin
"""


def test_a_document_keeps_what_was_added_to_it() -> None:
    pki("init")
    pki("issue", "host", "web-1", "--snippet", "web-1.yaml")
    path = Path("web-1.yaml")
    before = path.read_text()
    path.write_text(before + _REST)
    pki("rotate")
    assert pki("renew", "web-1", "--snippet", "web-1.yaml") == 0
    after = path.read_text()
    assert after.endswith(_REST)
    assert after.count("BEGIN CERTIFICATE") == before.count("BEGIN CERTIFICATE") + 1
    assert after.count("BEGIN X509 CRL") == 2
    assert examine(path) == []
    assert pki("renew", "web-1", "--snippet", "another.yaml") == 0
    alone = Path("another.yaml").read_text().splitlines()
    assert alone[:4] == after.splitlines()[:4]
    assert path.stat().st_mode & 0o777 == 0o600


def test_documents_are_given_what_is_trusted_now(capsys: pytest.CaptureFixture[str]) -> None:
    pki("init")
    pki("issue", "host", "web-1", "--snippet", "web-1.yaml")
    pki("token", "web-2", "--url", "https://10.0.0.1:7444", "--snippet", "web-2.yaml")
    paths = [Path("web-1.yaml"), Path("web-2.yaml")]
    for path in paths:
        path.write_text(path.read_text() + _REST)
    before = [path.read_text() for path in paths]
    pki("rotate")
    assert pki("give", "web-1.yaml", "web-2.yaml") == 0
    assert "2 documents" in capsys.readouterr().out
    trusted = Path("pki/ca.pem").read_text()
    for path, text in zip(paths, before, strict=True):
        after = path.read_text()
        assert examine(path) == []
        assert yaml.safe_load(after)["bedplate"]["api"]["ca"] == trusted
        pem = r"(?m)^ *(ca|crl): \|\n( {6}.*\n)+"
        assert re.sub(pem, "", after) == re.sub(pem, "", text)


def test_none_is_changed_when_one_takes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pki("init")
    pki("issue", "host", "web-1", "--snippet", "web-1.yaml")
    before = Path("web-1.yaml").read_text()
    Path("web-2.yaml").write_text("#cloud-config\nhostname: web-2\n")
    pki("rotate")
    assert pki("give", "web-1.yaml", "web-2.yaml") == 2
    assert "web-2.yaml: its bedplate.api has no ca" in capsys.readouterr().err
    assert Path("web-1.yaml").read_text() == before


def test_what_is_no_key_of_the_document_is_not_put_into_it() -> None:
    """Without lists nobody can be revoked, and no list can end; that is the document's to say."""
    pki("init")
    pki("issue", "host", "web-1", "--snippet", "web-1.yaml")
    path = Path("web-1.yaml")
    head, _, rest = path.read_text().partition("    crl: |\n")
    path.write_text(head + rest[rest.index("    certificate: |") :])
    assert pki("renew", "web-1", "--snippet", "web-1.yaml") == 0
    assert "crl" not in path.read_text()
    assert examine(path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#cloud-config\nhostname: web-1\n", "no ca and no certificate and no key"),
        ("bedplate:\n  api: {ca: a, certificate: b, key: c}\n", "2:9: ca stands among others"),
        ("bedplate: [\n", "not YAML"),
        ("\n", "the file is empty"),
    ],
)
def test_nothing_is_renewed_for_a_document_that_does_not_take_it(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pki("init")
    pki("issue", "host", "web-1", "--plain-key")
    before = Path("pki/register.json").read_bytes()
    path = Path("web-1.yaml")
    path.write_text(text)
    assert pki("renew", "web-1", "--snippet", "web-1.yaml") == 2
    assert message in capsys.readouterr().err
    assert path.read_text() == text
    assert Path("pki/register.json").read_bytes() == before


def test_a_rotation_from_end_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    pki("init")
    pki("issue", "reader", "anna")
    assert pki("rotate") == 0
    assert "give ca.pem and crl.pem to all hosts" in capsys.readouterr().out
    assert pki("rotate", "--use") == 0
    assert pki("rotate", "--finish") == 2
    assert "anna" in capsys.readouterr().err
    assert pki("renew", "--all", "--if-due") == 0
    assert pki("rotate", "--finish", "--json") == 0
    out = capsys.readouterr().out
    assert sorted(json.loads(out[out.index("{") :])["authorities"].values()) == [
        "issuing",
        "retired",
    ]
    assert pki("crl", "--days", "30") == 0
    assert pki("show", "--all") == 0
    captured = capsys.readouterr()
    assert "retired" in captured.out
    assert "revocation list" in captured.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("issue", "reader", "anna", "--address", "10.0.0.5"), "are for hosts"),
        (("issue", "reader", "ca"), "is no name here"),
        (("renew",), "give names, or --all"),
        (("renew", "otto"), "no certificate of that name"),
        (("revoke", "otto"), "no certificate of that name"),
        (("token", "web-1", "--url", "https://a:1"), "go together"),
        (("token", "web-1", "--url", "http://a:1", "--snippet", "x"), "expected such as"),
        (("token", "web_1"), "is no IP address"),
        (("crl", "--days", "0"), "--days 0: expected 1 to 10950 for a list"),
        (("crl", "--days", "99999999999"), "expected 1 to 10950 for a list"),
        (("init",), "there is an authority already"),
    ],
)
def test_what_does_not_fit_is_told(
    argv: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pki("init")
    assert pki(*argv) == 2
    assert message in capsys.readouterr().err


def test_no_folder_and_no_passphrase_are_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pki("show") == 2
    assert "bedplate pki init" in capsys.readouterr().err
    assert not Path("pki").exists()
    monkeypatch.delenv(passphrase.VARIABLE)
    assert pki("init") == 1
    assert passphrase.VARIABLE in capsys.readouterr().err
