from datetime import time, timedelta
from pathlib import Path

import pytest

from updater import config
from updater.config import ConfigError, Strategy, Weekday

BASE = b"server: https://updates.example.org/bedplate/\nchannel: stable\n"


def read(tmp_path: Path, defaults: bytes, credential: bytes | None = None) -> config.Config:
    (tmp_path / "update.yaml").write_bytes(defaults)
    if credential is not None:
        (tmp_path / "credential").write_bytes(credential)
    return config.load((tmp_path / "update.yaml", tmp_path / "credential"))


def test_the_credential_lies_over_the_defaults(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        BASE + b"strategy: off\ninterval: 1h\n",
        b'{"strategy": "window", "window": {"start": "13:30", "length": "2h", "days": ["sun"]}}',
    )
    assert found.server == "https://updates.example.org/bedplate"
    assert found.strategy is Strategy.WINDOW
    assert found.interval == 3600
    assert found.window == config.Window(time(13, 30), timedelta(hours=2), frozenset([Weekday.SUN]))


def test_words_and_times_are_what_a_person_wrote(tmp_path: Path) -> None:
    found = read(tmp_path, BASE + b"strategy: off\nwindow: {start: 13:30, length: 90m}\n")
    assert found.strategy is Strategy.OFF
    assert found.window is not None
    assert found.window.start == time(13, 30)
    assert found.window.days == frozenset(Weekday)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"servr: x", "unknown key 'servr'"),
        (b"server: ftp://x", "server: expected an http"),
        (b"server: http://", "server: expected an http"),
        (b"server: http://x:99999", "server: expected an http"),
        (b"server: [a]", "server: expected an http"),
        (b"channel: Stable!", "channel: expected"),
        (b"strategy: sometimes", "strategy: expected one of off, reboot, window"),
        (b"strategy: window", "needs the key window"),
        (b"interval: 0", "interval: expected seconds"),
        (b"interval: -5", "interval: expected seconds"),
        (b"interval: 8d", "interval: expected seconds"),
        (b"jitter: soon", "jitter: expected seconds"),
        (b"bandwidth: 10", "bandwidth: expected bytes"),
        (b"proxy: socks5://x", "proxy: expected an http"),
        (b"window: 3", "window: expected the keys"),
        (b"window: {start: 3}", "window: key 'length' is missing"),
        (b"window: {start: '24:00', length: 2h}", "window.start: expected"),
        (b"window: {start: '03:00', length: 2d}", "window.length: expected"),
        (b"window: {start: '03:00', length: 2h, day: [mon]}", "window: unknown key 'day'"),
        (b"window: {start: '03:00', length: 2h, days: [monday]}", "window.days: expected"),
        (b"interval: 5\ninterval: 6", "given twice"),
        (b"- a", "expected keys with values"),
        (b"{", "no valid YAML"),
        (b"a: *b", "no valid YAML"),
        (b"\xff\xfe\xfa", "no valid YAML"),
        (b"#" * 70000, "more than the 65536"),
    ],
)
def test_errors_name_the_key_and_the_file(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, BASE, text)
    assert message in str(caught.value)
    assert str(tmp_path / "credential") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="server is not configured"):
        config.load((tmp_path / "none", tmp_path / "neither"))
