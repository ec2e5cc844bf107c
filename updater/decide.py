"""What to do: which release to take, and when to reboot into it. Pure."""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from updater.channel import Channel, Promotion, place
from updater.config import Strategy, Weekday, Window
from updater.manifest import ReleaseManifest
from updater.version import Version


class Verdict(enum.Enum):
    """The outcome of a look at the channel."""

    UPDATE = "update"
    CURRENT = "current"
    WAITING = "waiting"
    REJECTED = "rejected"
    INTERMEDIATE = "needs-intermediate"
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do and why; `version` is the release that is meant, if any."""

    verdict: Verdict
    reason: str
    version: Version | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What a decision depends on besides the channel; `now` is aware."""

    now: datetime
    image: str
    architecture: str
    running: Version
    machine_id: str
    rejected: Collection[Version]


def wave_start(promotion: Promotion, machine_id: str) -> datetime | None:
    """When this host's wave of a release starts; None when no wave has it yet."""
    mine = place(machine_id, promotion.version)
    return min((wave.start for wave in promotion.waves if mine < wave.percent), default=None)


def eligible(situation: Situation, channel: Channel) -> tuple[Version, ...]:
    """The releases whose manifests matter, newest first: newer, not rejected, our wave has come."""
    versions = (
        promotion.version
        for promotion in channel.releases
        if promotion.version > situation.running
        and promotion.version not in situation.rejected
        and place(situation.machine_id, promotion.version) < promotion.percent(situation.now)
    )
    return tuple(sorted(versions, reverse=True))


def decide(
    situation: Situation, channel: Channel, manifests: Mapping[Version, ReleaseManifest]
) -> Decision:
    """Choose the newest eligible release that this host can come to in one step.

    Going to the newest reachable release is also the best first step of several: a higher running
    version meets every minimum that a lower one meets.

    Args:
        situation: the host.
        channel: what its channel promotes.
        manifests: those of `eligible(situation, channel)`.
    """
    candidates = eligible(situation, channel)
    blocked: Decision | None = None
    for version in candidates:
        decision = _judge(situation, manifests[version])
        if decision.verdict is Verdict.UPDATE:
            return decision
        blocked = blocked or decision
    return blocked or _why_none(situation, channel)


def _judge(situation: Situation, manifest: ReleaseManifest) -> Decision:
    version = manifest.version
    if (manifest.image, manifest.architecture.value) != (situation.image, situation.architecture):
        return Decision(
            Verdict.UNFIT,
            f"version {version} is {manifest.image} for {manifest.architecture.value}; this host "
            f"is {situation.image} for {situation.architecture}",
            version,
        )
    if manifest.minimum_version > situation.running:
        return Decision(
            Verdict.INTERMEDIATE,
            f"version {version} can be reached from {manifest.minimum_version} on, this host runs "
            f"{situation.running}, and no release in between is on offer",
            version,
        )
    return Decision(Verdict.UPDATE, f"version {version} is the newest within reach", version)


def _why_none(situation: Situation, channel: Channel) -> Decision:
    newer = [each for each in channel.releases if each.version > situation.running]
    if not newer:
        return Decision(
            Verdict.CURRENT, f"nothing newer than {situation.running} in {channel.channel}"
        )
    waiting = [each for each in newer if each.version not in situation.rejected]
    if not waiting:
        newest = max(each.version for each in newer)
        return Decision(
            Verdict.REJECTED,
            f"version {newest} was rejected on this host; `bedplate-update unreject {newest}` "
            "allows it again",
            newest,
        )
    newest_waiting = max(waiting, key=lambda each: each.version)
    start = wave_start(newest_waiting, situation.machine_id)
    when = "has no wave for this host yet" if start is None else f"comes to this host at {start}"
    return Decision(
        Verdict.WAITING, f"version {newest_waiting.version} {when}", newest_waiting.version
    )


# --- When to reboot -------------------------------------------------------------------------------


def window_wait(window: Window, now: datetime) -> timedelta:
    """How long until the window is open; zero when it is. `now` is aware and in UTC."""
    waits: list[timedelta] = []
    # A window of up to a day may have opened yesterday; the next one opens within a week.
    for offset in range(-1, 8):
        day = now.date() + timedelta(days=offset)
        opening = datetime.combine(day, window.start, tzinfo=now.tzinfo)
        if Weekday(day.weekday()) in window.days and opening + window.length > now:
            waits.append(max(opening - now, timedelta()))
    return min(waits)


def reboot_wait(strategy: Strategy, window: Window | None, now: datetime) -> timedelta | None:
    """How long until the host may reboot by itself; None when it never may.

    With a lock the window counts as well, if there is one; the lock itself is not asked for here.
    """
    if strategy is Strategy.OFF:
        return None
    if strategy in (Strategy.WINDOW, Strategy.ETCD_LOCK) and window is not None:
        return window_wait(window, now)
    return timedelta()


def back_off(interval: float, failures: int) -> float:
    """Seconds until the next check: soon after a first failure, then ever later.

    A host whose network comes up late must not wait a whole interval; one whose server is gone
    must not ask it every few seconds. The limit is twelve intervals.
    """
    if failures == 0:
        return interval
    soon = min(interval, 30.0)
    return float(min(soon * 2.0 ** min(failures - 1, 20), 12 * interval))
