"""Updates as both sections mean them: `bedplate.update`, and CoreOS's words for it."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudconfig.model.bedplate import Bedplate, Strategy
from cloudconfig.model.coreos import Coreos, RebootStrategy
from cloudconfig.model.lock import takes_lock
from hostkit.document.schema import Fault

_OFF = RebootStrategy.OFF


@dataclass(frozen=True, slots=True)
class Said:
    """One key's value in the updater's words, and the key of the document that says so."""

    value: object
    by: str

    @property
    def path(self) -> tuple[str, ...]:
        """Where that key stands."""
        return tuple(self.by.replace("-", "_").split("."))


def settings(coreos: Coreos, bedplate: Bedplate) -> dict[str, Said]:
    """What the updater is told: texts, lists of texts, a mapping."""
    return {**_coreos(coreos, bedplate), **_bedplate(coreos, bedplate)}


def contradictions(coreos: Coreos, bedplate: Bedplate) -> Iterator[Fault]:
    """What `bedplate.update` and CoreOS's keys say differently."""
    ours, theirs = _bedplate(coreos, bedplate), _coreos(coreos, bedplate)
    for name in theirs:
        if name in ours and theirs[name].value != ours[name].value:
            message = f"{theirs[name].by} and {ours[name].by} contradict each other"
            yield Fault(f"{message}; keep one of them", theirs[name].path)


def cautions(coreos: Coreos) -> Iterator[Fault]:
    """What a strategy leaves without effect."""
    if coreos.locksmith and coreos.locksmith.window_start and _strategy_of(coreos) is _OFF:
        message = "the window does nothing: with reboot-strategy: off no release takes over"
        yield Fault(message, ("coreos", "locksmith", "window_start"))


def _bedplate(coreos: Coreos, bedplate: Bedplate) -> dict[str, Said]:
    update = bedplate.update
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
        if not takes_lock(coreos, bedplate):
            found["strategy"] = Strategy.WINDOW.value
    return {
        name: Said(value, f"bedplate.update.{name}")
        for name, value in found.items()
        if value is not None
    }


def _coreos(coreos: Coreos, bedplate: Bedplate) -> dict[str, Said]:
    found: dict[str, Said] = {}
    update, lock = coreos.update, coreos.locksmith
    if update and update.server:
        found["server"] = Said(update.server, "coreos.update.server")
    if update and update.group:
        found["channel"] = Said(update.group, "coreos.update.group")
    strategy = _strategy_of(coreos)
    locks = takes_lock(coreos, bedplate)
    if strategy:
        word = _strategy(strategy, locks=locks)
        found["strategy"] = Said(word.value, "coreos.update.reboot-strategy")
    if lock and lock.window_start and lock.window_length and strategy is not _OFF:
        if not locks:
            found["strategy"] = Said(Strategy.WINDOW.value, "coreos.locksmith.window-start")
        window = _locksmith_window(lock.window_start, lock.window_length)
        found["window"] = Said(window, "coreos.locksmith.window-start")
    return found


def _strategy_of(coreos: Coreos) -> RebootStrategy | None:
    return coreos.update.reboot_strategy if coreos.update else None


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
