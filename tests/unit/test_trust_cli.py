import argparse
import json
import logging
import os
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from builder.trust import pkcs8
from builder.trust.cli import add_commands
from builder.trust.errors import KeyStoreError, PassphraseError, ReleaseInputError
from builder.trust.keys import KeyRing
from builder.trust.publish import Signing
from builder.trust.release_cli import parse_days, parse_wave
from builder.trust.repository import Repository
from builder.trust.show import in_words
from trust_kit import CHEAP, NOW, PASSPHRASE, make_build, make_store, open_store
from updater.channel import Wave
from updater.errors import BedplateError


def run(*argv: str) -> int:
    """The program, without the part of its `main()` that shows errors."""
    parser = argparse.ArgumentParser(prog="bedplate")
    add_commands(parser.add_subparsers(required=True))
    args = parser.parse_args(argv)
    result = args.func(args)
    assert isinstance(result, int)
    return result


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)
    monkeypatch.setattr(pkcs8, "ScryptCost", lambda: CHEAP)


def made(tmp_path: Path) -> None:
    make_store(tmp_path / "keys")
    assert run("release", "init") == 0


def last(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def test_keygen_makes_a_set_and_then_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("keygen", "--json") == 0
    document = json.loads(last(capsys))
    assert document["schema"] == 1
    assert {"root-3", "targets-2", "extensions", "secureboot"} <= set(document["made"])
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    for name in ("root-1.pub", "secureboot.crt", "releases.pem", "releases.pub"):
        (tmp_path / "keys" / name).unlink()
    assert run("keygen", "--json") == 0
    assert set(json.loads(last(capsys))["made"]) == {"root-1", "secureboot", "releases"}
    after = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"secureboot.crt", "releases.pem", "releases.pub"}
    assert run("release", "init") == 0


def test_keygen_of_named_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("keygen", "--keys", "mine", "channel-beta") == 0
    assert last(capsys) == "mine: made channel-beta\n"
    assert (tmp_path / "mine/channel-beta.pem").exists()
    with pytest.raises(KeyStoreError, match="never overwritten"):
        run("keygen", "--keys", "mine", "channel-beta")


def test_keygen_without_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BEDPLATE_PASSPHRASE")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(PassphraseError, match="BEDPLATE_PASSPHRASE"):
        run("keygen")
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "argv", [["--refer", "hsm:", "x"], ["--public", "p", "x"], ["--refer", "hsm:", "--public", "p"]]
)
def test_refer_needs_all_three(argv: Sequence[str]) -> None:
    with pytest.raises(ReleaseInputError, match="go together"):
        run("keygen", *argv)


def test_a_release_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path)
    make_build(tmp_path / "build", "1")
    assert run("release", "add", "build") == 0
    capsys.readouterr()
    waves = ["--wave", "10%@now", "--wave", "100%@+24h"]
    assert run("release", "promote", "1", "--channel", "stable", *waves, "--json") == 0
    document = json.loads(last(capsys))
    assert document["signed"] == ["channel-stable", "snapshot", "timestamp"]
    assert run("release", "rotate", "timestamp", "--add", "spare-1", "--remove", "timestamp") == 0
    assert run("release", "refresh", "--expires", "snapshot=14") == 0
    assert run("release", "channel", "beta", "--key", "spare-2") == 0
    assert run("release", "withdraw", "1") == 0
    capsys.readouterr()
    assert run("release", "status", "--json") == 0
    status = json.loads(last(capsys))
    assert status["schema"] == 1
    assert {role["role"] for role in status["roles"]} >= {"root", "channel-beta"}
    assert status["releases"][0]["channels"] == []
    assert run("release", "status") == 0
    out, err = capsys.readouterr()
    assert "spare-1" in out
    assert err == ""


def test_a_refresh_says_what_offline_roles_are_due(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = KeyRing([open_store(make_store(tmp_path / "keys"))])
    long_ago = datetime.now(UTC) - timedelta(days=80)
    Repository(tmp_path / "repository").init(Signing(ring, long_ago))
    assert run("release", "status") == 0
    out, err = capsys.readouterr()
    assert "expired" in out
    assert "role timestamp expired on" in err
    assert run("release", "refresh") == 0
    err = capsys.readouterr().err
    assert "role channel-stable expires on" in err
    assert "bedplate release refresh --role channel-stable" in err
    assert "timestamp" not in err
    assert "releases" not in err


def test_every_command_names_what_is_wrong(tmp_path: Path) -> None:
    made(tmp_path)
    for argv, message in (
        (["promote", "x"], "no version"),
        (["promote", "1"], "release 1 is not in the repository"),
        (["promote", "1", "--wave", "half"], "no wave"),
        (["add", "nothing"], "cannot be read"),
        (["refresh", "--expires", "root"], "ROLE=DAYS"),
        (["refresh", "--role", "king"], "no role"),
        (["rotate", "root"], "nothing to rotate"),
        (["refresh", "--repository", "other"], "release init"),
        (["refresh", "--keys", "other"], "bedplate keygen"),
        (["refresh", "--passphrase-file", "other"], "cannot be read"),
    ):
        with pytest.raises(BedplateError, match=message) as error:
            run("release", *argv)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10%@now", Wave(NOW, 10)),
        ("0%@+30m", Wave(NOW + timedelta(minutes=30), 0)),
        ("100%@+2d", Wave(NOW + timedelta(days=2), 100)),
        ("5%@2026-11-22T14:00:00+02:00", Wave(NOW, 5)),
        ("5%@2026-11-22T12:00:00Z", Wave(NOW, 5)),
    ],
)
def test_waves(text: str, expected: Wave) -> None:
    assert parse_wave(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    ["", "10%", "10@now", "-1%@now", "101%@now", "10%@soon", "10%@2026-11-22T12:00:00", "1%@+1w"],
)
def test_no_waves(text: str) -> None:
    with pytest.raises(ReleaseInputError, match="no wave"):
        parse_wave(text, NOW)


def test_days() -> None:
    assert parse_days(["timestamp=1", "root=400"]) == {"timestamp": 1, "root": 400}
    for text in ("root", "root=", "root=0", "root=-1", "root=9999", "root=1.5", "root=\u0661"):
        with pytest.raises(ReleaseInputError, match="ROLE=DAYS"):
            parse_days([text])


def test_time_left_in_words() -> None:
    assert in_words(timedelta(days=3, hours=5)) == "3 d"
    assert in_words(timedelta(hours=36, minutes=5)) == "36 h"
    assert in_words(timedelta(seconds=-5)) == "0 h"


def test_serve_until_it_is_told_to_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/file").write_text("content")
    seen: list[str] = []

    def ask_then_stop(document: Mapping[str, object]) -> None:
        seen.append(requests.get(f"{document['url']}/file", timeout=30).text)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("builder.trust.cli.emit_json", ask_then_stop)
    before = signal.getsignal(signal.SIGTERM)
    assert run("serve", "site", "--port", "0", "--json") == 0
    assert seen == ["content"]
    assert signal.getsignal(signal.SIGTERM) is before
    assert '"GET /file HTTP/1.1" 200' in caplog.text
