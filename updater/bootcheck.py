"""What a boot means for the update under way. Pure.

Three witnesses are heard: which version runs, our own state, and the boot loader's counters on the
ESP. No one of them is enough: the state may be torn, the counters may not have been written
(systemd-boot goes on when it cannot rename an entry).
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from updater.bootentries import Found
from updater.state import MAXIMUM_TRIES, Pending, Phase, State
from updater.version import Version


class Outcome(enum.Enum):
    """What has happened, and so what to do."""

    NORMAL = "normal"
    TRIAL = "trial"
    PROVEN = "proven"  # marked good on the ESP, and not yet in our state
    EXHAUSTED = "exhausted"  # on trial, and out of tries: leave it
    UNWANTED = "unwanted"  # rejected, and running all the same: leave it
    ROLLED_BACK = "rolled back"  # another version than the pending one runs
    UNTRIED = "untried"  # staged, and not started yet
    UNFINISHED = "unfinished"  # staging was cut short
    UNKNOWN = "unknown"  # nobody can tell at the moment


@dataclass(frozen=True, slots=True)
class Boot:
    """An outcome with its reason, for the log and the history."""

    outcome: Outcome
    reason: str = ""


def needs_entries(state: State, running: Version) -> bool:
    """Whether `assess` wants to see the ESP: most boots need not mount it."""
    return state.pending is not None or state.is_rejected(running) or state.serial == 0


def assess(state: State, running: Version, boot_id: str, entries: Sequence[Found] | None) -> Boot:
    """Judge this boot; the answer is the same however often it is asked during one boot.

    Args:
        state: our own memory.
        running: the version that runs.
        boot_id: of this boot.
        entries: our entries on the ESP, None if it cannot be read.
    """
    again = 0 if state.boot_id == boot_id else 1
    if state.is_rejected(running):
        return Boot(
            Outcome.UNWANTED,
            f"version {running} is rejected and started all the same ({state.tries + again} times)",
        )
    if state.pending is None:
        return Boot(Outcome.NORMAL)
    if state.pending.version == running:
        return _own_trial(state, running, again, entries)
    return _other_runs(state, state.pending, running, again, entries)


def _own_trial(state: State, running: Version, again: int, entries: Sequence[Found] | None) -> Boot:
    mine = [found.entry for found in entries or () if found.entry.version == running]
    if mine and all(entry.good for entry in mine):
        return Boot(Outcome.PROVEN)
    tries = state.tries + again if state.phase is Phase.TRIAL else 1
    if tries > MAXIMUM_TRIES:
        return Boot(
            Outcome.EXHAUSTED,
            f"it started {tries - 1} times without becoming good, and the boot loader did not go "
            "back by itself",
        )
    return Boot(Outcome.TRIAL, f"boot {tries} of {MAXIMUM_TRIES}")


def _other_runs(
    state: State, pending: Pending, running: Version, again: int, entries: Sequence[Found] | None
) -> Boot:
    if state.phase is Phase.TRIAL:
        return Boot(
            Outcome.ROLLED_BACK,
            f"it started {state.tries} times without becoming good; {running} runs again",
        )
    if entries is None:
        return Boot(Outcome.UNKNOWN, "the boot entries cannot be read")
    theirs = [found.entry for found in entries if found.entry.version == pending.version]
    if not theirs:
        return Boot(Outcome.UNFINISHED, f"version {pending.version} has no boot entry yet")
    if any(entry.done > 0 or entry.bad for entry in theirs):
        done = max(entry.done for entry in theirs)
        return Boot(
            Outcome.ROLLED_BACK,
            f"the boot loader started it {done} times and it never came up far enough to say so; "
            f"{running} runs again",
        )
    if pending.missed + again >= MAXIMUM_TRIES:
        return Boot(
            Outcome.ROLLED_BACK,
            f"the host was rebooted {MAXIMUM_TRIES} times and {running} came up each time",
        )
    return Boot(Outcome.UNTRIED, "it is staged and was not started yet")
