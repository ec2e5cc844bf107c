"""What a boot does for updates: count the trial, leave a bad release, mark a good one."""

import logging
from collections.abc import Callable, Sequence

from updater import bootentries, efivars, programs, state
from updater.bootcheck import Boot, Outcome, assess, needs_entries
from updater.bootentries import Found
from updater.context import Context
from updater.errors import BedplateError
from updater.esp import Esp
from updater.state import MAXIMUM_TRIES, Phase, State
from updater.version import Version

_LOG = logging.getLogger(__name__)
BLESSING_UNIT = "systemd-bless-boot.service"


class NoWayBackError(BedplateError):
    """There is no other release on this host that could be started."""


def entries(context: Context) -> tuple[Found, ...] | None:
    """Our boot entries; None if the ESP cannot be read."""
    try:
        with context.mounted_esp(context.layout()) as esp:
            return esp.entries()
    except (BedplateError, OSError) as error:
        _LOG.error("%s", error)
        return None


def start(context: Context) -> Boot:
    """Take note of this boot, once, early: see `bootcheck.assess`. Repeating it does no harm.

    Raises:
        OSError: the state cannot be written.
    """
    running = context.running
    known = context.store.load()
    found = entries(context) if needs_entries(known, running.version) else ()
    if known.serial == 0 and found:
        known = _remember_bad_entries(context, found)
    boot = assess(known, running.version, running.boot_id, found)
    _LOG.info("running %s: %s %s", running.version, boot.outcome.value, boot.reason)
    _ACTIONS[boot.outcome](context, boot)
    return boot


def _remember_bad_entries(context: Context, found: Sequence[Found]) -> State:
    """With a lost state, the ESP still tells which releases used up their tries."""
    at = context.now()

    def step(known: State) -> State:
        for each in found:
            if each.entry.bad and each.entry.version != context.running.version:
                reason = "its boot entry has no try left"
                known = state.reject(known, each.entry.version, reason, at)
        return known

    return context.store.update(step)


def _normal(context: Context, _boot: Boot) -> None:
    context.store.update(lambda known: state.settled(known, context.running.boot_id))


def _trial(context: Context, _boot: Boot) -> None:
    at = context.now()
    context.store.update(lambda known: state.booted_trial(known, context.running.boot_id, at))
    # The boot loader's own generator asks for this only if it could count the boot.
    try:
        programs.start_unit(BLESSING_UNIT)
    except programs.ProgramError as error:
        _LOG.warning("%s", error)


def _proven(context: Context, _boot: Boot) -> None:
    _note_good(context)


def _exhausted(context: Context, boot: Boot) -> None:
    at = context.now()
    if not _can_leave(context):
        context.store.update(lambda known: state.booted_trial(known, context.running.boot_id, at))
        _LOG.error("%s, but there is no other release to go back to", boot.reason)
        return

    def step(known: State) -> State:
        trial = state.booted_trial(known, context.running.boot_id, at)
        return state.rolled_back(trial, boot.reason, at)

    context.store.update(step)
    _leave(context)


def _unwanted(context: Context, boot: Boot) -> None:
    before = context.store.load()
    if before.boot_id == context.running.boot_id:
        # Looked at already; the reboot is on its way, or there is nowhere to go.
        return
    known = context.store.update(
        lambda known: state.booted_rejected(known, context.running.boot_id)
    )
    if known.tries > 2 * MAXIMUM_TRIES or not _can_leave(context):
        _LOG.error("%s and cannot be left: it stays", boot.reason)
        return
    _leave(context)


def _rolled_back(context: Context, boot: Boot) -> None:
    at = context.now()
    pending = context.store.load().pending
    context.store.update(lambda known: state.rolled_back(known, boot.reason, at))
    _normal(context, boot)
    if pending is not None:
        _drop_quietly(context, pending.version)


def _untried(context: Context, _boot: Boot) -> None:
    at = context.now()

    def step(known: State) -> State:
        if known.phase is Phase.STAGING:
            # The power failed between the entry's rename and our note of it.
            known = state.staged(known, at)
        return state.missed(known, context.running.boot_id)

    context.store.update(step)


def _unfinished(context: Context, boot: Boot) -> None:
    if context.store.load().phase is Phase.STAGED:
        at = context.now()
        context.store.update(lambda known: state.withdrawn(known, boot.reason, at))
    _normal(context, boot)


_ACTIONS: dict[Outcome, Callable[[Context, Boot], None]] = {
    Outcome.NORMAL: _normal,
    Outcome.TRIAL: _trial,
    Outcome.PROVEN: _proven,
    Outcome.EXHAUSTED: _exhausted,
    Outcome.UNWANTED: _unwanted,
    Outcome.ROLLED_BACK: _rolled_back,
    Outcome.UNTRIED: _untried,
    Outcome.UNFINISHED: _unfinished,
    Outcome.UNKNOWN: _normal,
}


# --- Leaving a release ----------------------------------------------------------------------------


def others(context: Context, esp: Esp) -> tuple[Found, ...]:
    """The entries that the host could go back to."""
    return tuple(
        found
        for found in esp.entries()
        if found.entry.version != context.running.version and not found.entry.bad
    )


def _other_slot(context: Context) -> Version | None:
    try:
        return context.layout().inactive.version
    except (BedplateError, OSError):
        return None


def _can_leave(context: Context) -> bool:
    other = _other_slot(context)
    if other is None:
        return False
    try:
        with context.mounted_esp(context.layout()) as esp:
            return any(found.entry.version == other for found in others(context, esp))
    except (BedplateError, OSError) as error:
        # An ESP that cannot be mounted here was good enough for the boot loader.
        _LOG.warning("%s", error)
        return True


def _leave(context: Context) -> None:
    """Leave a release that is no good.

    Its pods are not drained: what takes part in that may be what is wrong with it.
    """
    prefer_other(context)
    programs.reboot_now()


def prefer_other(context: Context) -> None:
    """Make the boot loader prefer the other release from the next boot on.

    Where the ESP cannot be written, the firmware is asked to start the other entry once.
    """
    other = _other_slot(context)
    try:
        with context.mounted_esp(context.layout()) as esp:
            for found in bootentries.of_version(esp.names(), context.running.version):
                esp.rename(found, bootentries.condemned(found.entry))
    except (BedplateError, OSError) as error:
        _LOG.error("%s", error)
        if other is not None:
            efivars.prefer_once(context.paths.root, bootentries.Entry(other).name)


def _drop_quietly(context: Context, version: Version) -> None:
    """Remove a failed release's entries, so that nothing can start it again."""
    try:
        with context.mounted_esp(context.layout()) as esp:
            names = esp.names()
            if bootentries.of_version(names, context.running.version):
                doomed = bootentries.of_version(names, version)
                esp.remove(tuple(found.name for found in doomed))
    except (BedplateError, OSError) as error:
        _LOG.error("%s", error)


# --- Marking good ---------------------------------------------------------------------------------


def mark_good(context: Context) -> str:
    """The health checks passed: take the counter off the running entry, and note it.

    A release that works is not given up because its entry cannot be renamed: that is an error in
    the status, and tried again by the daemon (`bless`).

    Returns:
        What was done, in a line.
    """
    version = context.running.version
    if context.store.load().is_rejected(version):
        return f"version {version} is rejected: not marked good"
    problem = bless(context)
    _note_good(context)
    if problem:
        at = context.now()
        context.store.update(lambda known: state.checked(known, at, problem))
        return f"version {version} is good, but {problem}"
    return f"version {version} is good"


def bless(context: Context) -> str:
    """Take the counter off the running version's entry; what went wrong, or nothing."""
    try:
        with context.mounted_esp(context.layout()) as esp:
            for found in bootentries.of_version(esp.names(), context.running.version):
                esp.rename(found, bootentries.blessed(found.entry))
    except (BedplateError, OSError) as error:
        _LOG.error("%s", error)
        return f"its boot entry still has a counter: {error}"
    return ""


def _note_good(context: Context) -> None:
    at = context.now()
    running = context.running

    def step(known: State) -> State:
        if known.pending is None or known.pending.version != running.version:
            return known
        return state.became_good(state.booted_trial(known, running.boot_id, at), at)

    context.store.update(step)
