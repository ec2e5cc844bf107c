"""The update configuration: fragments as read, merged by key, then validated as a whole.

The image's own defaults come first, then the cloud-config, then the operator's credential, then
what an operator asked for until the next boot (see `override`). Values are read as plain text (so
that `off` is a word and `13:30` a time, as in no YAML 1.1 reader) and judged here.
"""

import enum
import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import time, timedelta
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from updater.errors import InputError
from updater.strict import unique_keys
from updater.version import CHANNEL_PATTERN

_MAXIMUM_LENGTH = 64 * 1024
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DAY = 86400
KEYS = frozenset(
    (
        *("server", "channel", "strategy", "window", "interval", "jitter"),
        *("reboot_delay", "proxy", "bandwidth"),
    )
)
T = TypeVar("T")


class ConfigError(InputError):
    """The configuration is wrong; the message names the key and the file."""


class Strategy(enum.Enum):
    """When a staged release may take over."""

    OFF = "off"
    REBOOT = "reboot"
    WINDOW = "window"
    ETCD_LOCK = "etcd-lock"


class Weekday(enum.IntEnum):
    """The days of the week, as `datetime.weekday()` counts them."""

    MON = 0
    TUE = 1
    WED = 2
    THU = 3
    FRI = 4
    SAT = 5
    SUN = 6


@dataclass(frozen=True, slots=True)
class Window:
    """When the host may reboot: from `start` (UTC) for `length`, on the days on which it opens."""

    start: time
    length: timedelta
    days: frozenset[Weekday] = frozenset(Weekday)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One file as read: raw values by key, nothing judged yet."""

    source: Path
    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Setting:
    """One raw value and the file that it is from."""

    value: object
    source: Path


@dataclass(frozen=True, slots=True)
class Config:
    """What the updater does on this host; times are in seconds, bandwidth in bytes a second."""

    server: str
    channel: str
    strategy: Strategy
    window: Window | None
    interval: int
    jitter: int
    reboot_delay: int
    proxy: str | None
    bandwidth: int | None


def _document(data: bytes) -> object:
    """JSON or YAML as text, lists and mappings; JSON needs no YAML reader (see `plaintext`)."""
    with suppress(ValueError, RecursionError):
        return json.loads(data, object_pairs_hook=unique_keys, parse_int=str, parse_float=str)
    from updater.plaintext import load_yaml  # noqa: PLC0415

    return load_yaml(data)


def parse_fragment(data: bytes, source: Path) -> Fragment:
    """Read one file's text, YAML or JSON.

    Raises:
        ConfigError: too long, no YAML, no mapping, or an unknown key.
    """
    if len(data) > _MAXIMUM_LENGTH:
        raise ConfigError(f"{source}: {len(data)} bytes, more than the {_MAXIMUM_LENGTH} allowed")
    try:
        document = _document(data)
    except ValueError as error:
        raise ConfigError(f"{source}: no valid YAML: {error}") from error
    if document in (None, ""):
        return Fragment(source, {})
    if not isinstance(document, dict):
        raise ConfigError(f"{source}: expected keys with values, got {type(document).__name__}")
    for key in document:
        if key not in KEYS:
            known = ", ".join(sorted(KEYS))
            raise ConfigError(f"{source}: unknown key {key!r}; known are {known}")
    return Fragment(source, document)


def merge(*fragments: Fragment) -> Mapping[str, Setting]:
    """Lay later fragments over earlier ones, key by key; a window is one key."""
    return {
        key: Setting(value, fragment.source)
        for fragment in fragments
        for key, value in fragment.values.items()
    }


def _bad(setting: Setting, key: str, expected: str) -> ConfigError:
    return ConfigError(f"{setting.source}: {key}: expected {expected}, got {setting.value!r}")


def _text(setting: Setting, key: str, pattern: str, expected: str) -> str:
    value = setting.value
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise _bad(setting, key, expected)
    return value


def _url(setting: Setting, key: str) -> str:
    expected = "an http:// or https:// URL with a host"
    text = _text(setting, key, r"https?://[^\s?#]+", expected)
    try:
        parts = urlsplit(text)
        # Reading the port is what checks it.
        valid = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise _bad(setting, key, expected)
    return text.rstrip("/")


def _channel(setting: Setting, key: str) -> str:
    return _text(setting, key, CHANNEL_PATTERN, "a channel's name, such as stable")


def _strategy(setting: Setting, key: str) -> Strategy:
    words = [strategy.value for strategy in Strategy]
    return Strategy(_text(setting, key, "|".join(words), "one of " + ", ".join(words)))


def _seconds(low: int, high: int) -> Callable[[Setting, str], int]:
    def read(setting: Setting, key: str) -> int:
        expected = f"seconds, or a number with s, m, h or d, from {low} to {high} seconds"
        text = _text(setting, key, "[0-9]{1,9}[smhd]?", expected)
        amount = int(text.rstrip("smhd")) * _UNITS[text.lstrip("0123456789")]
        if not low <= amount <= high:
            raise _bad(setting, key, expected)
        return amount

    return read


def _bandwidth(setting: Setting, key: str) -> int:
    expected = "bytes a second, at least 1024"
    amount = int(_text(setting, key, "[0-9]{1,15}", expected))
    if amount < 1024:
        raise _bad(setting, key, expected)
    return amount


def _days(setting: Setting, key: str) -> frozenset[Weekday]:
    names = {day.name.lower(): day for day in Weekday}
    value = setting.value
    if not isinstance(value, list) or not value or any(day not in names for day in value):
        raise _bad(setting, key, "a list of " + ", ".join(names))
    return frozenset(names[day] for day in value)


def _window(setting: Setting, key: str) -> Window:
    if not isinstance(setting.value, dict):
        raise _bad(setting, key, "the keys start and length, and perhaps days")
    parts = {name: Setting(value, setting.source) for name, value in setting.value.items()}
    for name in parts:
        if name not in ("start", "length", "days"):
            raise ConfigError(
                f"{setting.source}: {key}: unknown key {name!r}; known are days, length, start"
            )
    for name in ("start", "length"):
        if name not in parts:
            raise ConfigError(f"{setting.source}: {key}: key {name!r} is missing")
    start = _text(
        parts["start"], f"{key}.start", "([01][0-9]|2[0-3]):[0-5][0-9]", "a time in UTC as HH:MM"
    )
    length = _seconds(60, _DAY)(parts["length"], f"{key}.length")
    days = _days(parts["days"], f"{key}.days") if "days" in parts else frozenset(Weekday)
    return Window(time.fromisoformat(start), timedelta(seconds=length), days)


def _take(
    merged: Mapping[str, Setting], key: str, read: Callable[[Setting, str], T], default: T
) -> T:
    return read(merged[key], key) if key in merged else default


def _must(merged: Mapping[str, Setting], key: str, read: Callable[[Setting, str], str]) -> str:
    if key not in merged:
        raise ConfigError(
            f"{key} is not configured: neither the image's update.yaml nor the cloud-config nor "
            "the credential bedplate.update has it"
        )
    return read(merged[key], key)


def validate(merged: Mapping[str, Setting]) -> Config:
    """Judge every value, and what they mean together.

    Raises:
        ConfigError: a key is missing or wrong; the message names it and the file it is from.
    """
    strategy = _take(merged, "strategy", _strategy, Strategy.REBOOT)
    window = _take(merged, "window", _window, None)
    if strategy is Strategy.WINDOW and window is None:
        raise ConfigError(
            f"{merged['strategy'].source}: strategy: window needs the key window with start and "
            "length"
        )
    return Config(
        server=_must(merged, "server", _url),
        channel=_must(merged, "channel", _channel),
        strategy=strategy,
        window=window,
        interval=_take(merged, "interval", _seconds(1, 7 * _DAY), 300),
        jitter=_take(merged, "jitter", _seconds(0, _DAY), 60),
        reboot_delay=_take(merged, "reboot_delay", _seconds(0, 7 * _DAY), 0),
        proxy=_take(merged, "proxy", _url, None),
        bandwidth=_take(merged, "bandwidth", _bandwidth, None),
    )


def load(paths: Iterable[Path]) -> Config:
    """Read, merge and validate the configuration, later files over earlier ones.

    A missing file is an empty one.

    Raises:
        ConfigError: see `parse_fragment` and `validate`.
    """
    return validate(merge(*map(read_fragment, paths)))


def read_fragment(path: Path) -> Fragment:
    """Read one file; a missing one is empty.

    Raises:
        ConfigError: it cannot be read, or see `parse_fragment`.
    """
    try:
        with path.open("rb") as stream:
            return parse_fragment(stream.read(_MAXIMUM_LENGTH + 1), path)
    except FileNotFoundError:
        return Fragment(path, {})
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
