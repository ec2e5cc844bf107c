"""`bedplate.update`, and CoreOS's words for it: the updater's own file."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Strategy
from cloudconfig.model.coreos import RebootStrategy
from cloudconfig.model.lock import takes_lock
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.errors import RenderError
from updater.config import ConfigError, Fragment, merge, parse_fragment, validate

_PATH = PurePosixPath("/etc/bedplate/update.json")


@dataclass(frozen=True, slots=True)
class _Said:
    """One key's value in the updater's words, and the key of the document that says so."""

    value: object
    by: str


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The file, with what `updater.config` reads: texts, lists of texts, a mapping.

    Raises:
        RenderError: `bedplate.update` and `coreos` contradict each other.
    """
    if wrong := problems(config):
        raise RenderError("\n".join(wrong))
    said = {**_coreos(config), **_bedplate(config)}
    if not said:
        return Desired()
    settings = {name: each.value for name, each in said.items()}
    content = json.dumps(settings, indent=2, sort_keys=True).encode() + b"\n"
    _check(content)
    # A URL may hold a password.
    secret = any("@" in str(settings.get(name)) for name in ("server", "proxy"))
    file = File(
        _PATH,
        content,
        mode=0o600 if secret else 0o644,
        affects=(Affects("bedplate-updated.service"),),
        secret=secret,
    )
    return Desired(items=(file,))


def _check(content: bytes) -> None:
    """The updater's own reader has the last word; the image's defaults fill what is missing."""
    image = Fragment(Path("image"), {"server": "https://updates.invalid", "channel": "stable"})
    try:
        validate(merge(image, parse_fragment(content, Path("bedplate.update"))))
    except ConfigError as error:
        # Without the value, which may hold a password.
        raise RenderError(str(error).partition(", got ")[0]) from None


def problems(config: CloudConfig) -> list[str]:
    """What `bedplate.update` and CoreOS's keys say differently, a line each."""
    ours, theirs = _bedplate(config), _coreos(config)
    return [
        f"{theirs[name].by} and {ours[name].by} contradict each other; keep one of them"
        for name in theirs
        if name in ours and theirs[name].value != ours[name].value
    ]


def _bedplate(config: CloudConfig) -> dict[str, _Said]:
    update = config.bedplate.update
    if update is None:
        return {}
    found: dict[str, object | None] = {
        "server": update.server,
        "channel": update.channel,
        "strategy": update.strategy and update.strategy.value,
        "proxy": update.proxy,
        "bandwidth": None if update.bandwidth is None else str(update.bandwidth),
        "interval": None if update.interval is None else _seconds(update.interval),
        "jitter": None if update.jitter is None else _seconds(update.jitter),
        "reboot_delay": None if update.reboot_delay is None else _seconds(update.reboot_delay),
    }
    if update.window:
        window: dict[str, object] = {
            "start": update.window.start,
            "length": _seconds(update.window.length),
        }
        if update.window.days:
            window["days"] = _ordered({day.value for day in update.window.days})
        found["window"] = window
        # With the lock both must hold, whichever section says so.
        if not takes_lock(config.coreos, config.bedplate):
            found["strategy"] = Strategy.WINDOW.value
    return {
        name: _Said(value, f"bedplate.update.{name}")
        for name, value in found.items()
        if value is not None
    }


def _coreos(config: CloudConfig) -> dict[str, _Said]:
    found: dict[str, _Said] = {}
    update, lock = config.coreos.update, config.coreos.locksmith
    if update and update.server:
        found["server"] = _Said(update.server, "coreos.update.server")
    if update and update.group:
        found["channel"] = _Said(update.group, "coreos.update.group")
    strategy = update.reboot_strategy if update else None
    locks = takes_lock(config.coreos, config.bedplate)
    if strategy:
        word = _strategy(strategy, locks=locks)
        found["strategy"] = _Said(word.value, "coreos.update.reboot-strategy")
    if lock and lock.window_start and lock.window_length and strategy is not RebootStrategy.OFF:
        if not locks:
            found["strategy"] = _Said(Strategy.WINDOW.value, "coreos.locksmith.window-start")
        window = _locksmith_window(lock.window_start, lock.window_length)
        found["window"] = _Said(window, "coreos.locksmith.window-start")
    return found


def _strategy(strategy: RebootStrategy, *, locks: bool) -> Strategy:
    """One of locksmith's words in ours."""
    match strategy:
        case RebootStrategy.OFF:
            return Strategy.OFF
        case RebootStrategy.ETCD_LOCK:
            return Strategy.ETCD_LOCK
        case RebootStrategy.BEST_EFFORT if locks:
            return Strategy.ETCD_LOCK
        case RebootStrategy.BEST_EFFORT | RebootStrategy.REBOOT:
            return Strategy.REBOOT


def _locksmith_window(start: str, length: float) -> dict[str, object]:
    day, _, clock = start.rpartition(" ")
    window: dict[str, object] = {"start": clock.rjust(5, "0"), "length": _seconds(length)}
    return {**window, "days": [day[:3].lower()]} if day else window


def _ordered(days: set[str]) -> list[str]:
    return [day for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun") if day in days]


def _seconds(length: float) -> str:
    return f"{length:.0f}"
