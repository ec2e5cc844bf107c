"""An update from the first look to the reboot: check, decide, preflight, stage, verify, commit.

The order is what makes it safe. The slot that does not run is forgotten before it changes (boot
entry first, then its GPT names), written, read back, and then named; the new boot entry comes by
one rename at the very end. A cut at any point leaves the running release's slot and entry as they
were, and the next attempt keeps what the slot already has.
"""

import logging
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

from updater import boot, bootentries, decide, programs, slots, stage, state, status, trust, verity
from updater.blocks import BlockFile
from updater.bootentries import Found
from updater.config import Config
from updater.context import Context
from updater.decide import Decision, Situation, Verdict
from updater.errors import BedplateError, NotYetError
from updater.esp import Esp
from updater.fetch import Fetcher, Limits, SystemClock
from updater.manifest import BLOCK_SIZE, ReleaseManifest
from updater.slots import Layout, Slot
from updater.state import Phase, State
from updater.verity import Tree
from updater.version import Version

_LOG = logging.getLogger(__name__)
# What uname(2) calls the architectures that systemd names.
_ARCHITECTURES = {"x86_64": "x86-64", "aarch64": "arm64"}


class PreflightError(BedplateError):
    """The release cannot fit this host; nothing was changed."""


class RollbackError(BedplateError):
    """The other slot holds nothing to go back to."""


@dataclass(frozen=True, slots=True)
class Check:
    """A look at the channel; `release` is there when the decision is to update to it."""

    decision: Decision
    release: ReleaseManifest | None = None


Tell = Callable[[str, status.Progress | None], None]


def _silent(_text: str, _progress: status.Progress | None) -> None:
    """Tell nobody."""


class _PatientClock(SystemClock):
    """Tells that work goes on while the fetcher waits, and lets itself be stopped."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def sleep(self, seconds: float) -> None:
        """Wait, in pieces."""
        ends = self.now() + seconds
        while (rest := ends - self.now()) > 0:
            self._tell("", None)
            time.sleep(min(rest, 1.0))


class Agent:
    """The updater of one host; `tell` hears of every step, and may raise to stop it."""

    def __init__(self, context: Context, config: Config, tell: Tell = _silent) -> None:
        self._context = context
        self._config = config
        self._tell_others = tell
        self._slot = context.slot_name()
        self._decision = ""

    def tell(self, text: str, progress: status.Progress | None = None) -> None:
        """Write the status, and pass it on."""
        known = self._context.store.load()
        self._context.publish(self._context.view(known, self._slot, self._decision, progress))
        self._tell_others(text, progress)

    # --- Looking ----------------------------------------------------------------------------------

    def check(self) -> Check:
        """Look at the channel and decide; the outcome is in the state, errors included.

        Raises:
            BedplateError: the repository was not reached or not believed.
        """
        self.tell("looking for a release")
        try:
            found = self._look()
        except (BedplateError, OSError) as error:
            self.failed(error)
            raise
        self._decision = found.decision.reason
        self._note(error="")
        self.tell(found.decision.reason)
        return found

    def failed(self, error: Exception) -> None:
        """Leave the reason of a failure in state and status."""
        self._note(error=str(error))
        self.tell(f"failed: {error}")

    def _note(self, error: str) -> None:
        at = self._context.now()
        self._context.store.update(lambda known: state.checked(known, at, error))

    def _look(self) -> Check:
        context, config = self._context, self._config
        known = context.store.load()
        now = context.now()
        repository = trust.Repository(
            config.server, config.proxy, context.paths.state / "tuf", context.paths.first_root
        )
        machine = platform.machine()
        with trust.session(repository, now) as session:
            signed = session.signed_at()
            situation = Situation(
                # What was just verified was signed before this moment, whatever the clock says.
                now=max(now, signed or now),
                image=context.running.image,
                architecture=_ARCHITECTURES.get(machine, machine),
                running=context.running.version,
                machine_id=context.running.machine_id,
                rejected=frozenset(each.version for each in known.rejected),
            )
            channel = session.channel(config.channel)
            manifests = {
                version: session.manifest(version)
                for version in decide.eligible(situation, channel)
            }
        context.store.update(lambda known: state.trusted(known, signed))
        decision = decide.decide(situation, channel, manifests)
        if decision.verdict is Verdict.UPDATE and decision.version is not None:
            return Check(decision, manifests[decision.version])
        return Check(decision)

    # --- Updating ---------------------------------------------------------------------------------

    def apply(self, check: Check) -> bool:
        """Bring the host to what was decided, up to but without the reboot.

        Returns:
            Whether a release is staged, so that a reboot would start it.

        Raises:
            BedplateError: a step failed; the reason is in state and status, too.
        """
        try:
            return self._converge(check.release)
        except NotYetError as error:
            self.tell(str(error))
            raise
        except (BedplateError, OSError) as error:
            self.failed(error)
            raise

    def _converge(self, release: ReleaseManifest | None) -> bool:
        known = self._context.store.load()
        if known.phase is Phase.TRIAL:
            raise NotYetError(
                f"version {self._context.running.version} is on trial: no update before it is good"
            )
        if release is None:
            if known.pending is not None:
                self._withdraw(known.pending.version)
            return False
        if known.phase is Phase.STAGED and _is_pending(known, release):
            return True
        self._stage(release)
        return True

    def _withdraw(self, version: Version) -> None:
        """Forget a staged release that its channel no longer offers to this host."""
        context = self._context
        reason = self._decision or "no longer offered"
        layout = context.layout()
        with context.mounted_esp(layout) as esp:
            _own_entries(context, esp)
            esp.remove(bootentries.to_remove(esp.names(), context.running.version))
        slots.unname(layout.disk, layout.inactive)
        at = context.now()
        context.store.update(lambda known: state.withdrawn(known, reason, at))
        self.tell(f"version {version} is withdrawn: {reason}")

    def _stage(self, release: ReleaseManifest) -> None:
        context, version = self._context, release.version
        at = context.now()
        layout = context.layout()
        with context.mounted_esp(layout) as esp:
            _require_good(_own_entries(context, esp))
            self._preflight(release, layout, esp)
            context.store.update(
                lambda known: state.start_staging(known, version, release.root.hash, at)
            )
            esp.remove(bootentries.to_remove(esp.names(), context.running.version))
        slots.unname(layout.disk, layout.inactive)

        fetcher = self._fetcher()
        base = f"{self._config.server}/targets/releases/{version}"
        staged = stage.stage(release, base, fetcher, layout, self._report(version))
        entry = bootentries.fresh(version)
        self.tell(f"version {version}: fetching its kernel image")
        with context.mounted_esp(layout) as esp:
            uki = release.uki
            esp.prepare(
                entry,
                uki.sha256,
                lambda sink: fetcher.download(f"{base}/{uki.path}", uki.length, uki.sha256, sink),
            )
        stage.verify(staged.tree, layout.inactive, self._report(version))

        slots.name(layout.disk, layout.inactive, version, release.root.hash)
        with context.mounted_esp(layout) as esp:
            esp.install(entry)
        context.store.update(lambda known: state.staged(known, context.now()))
        self.tell(
            f"version {version} is staged: {staged.kept} bytes kept, {staged.copied} copied, "
            f"{staged.fetched} fetched as {staged.wire}"
        )

    def _preflight(self, release: ReleaseManifest, layout: Layout, esp: Esp) -> None:
        free = esp.free_for(self._context.running.version)
        reasons = stage.preflight(release, layout, free)
        if reasons:
            raise PreflightError(f"version {release.version} does not fit: {'; '.join(reasons)}")

    def _fetcher(self) -> Fetcher:
        proxy = self._config.proxy
        return Fetcher(
            Limits(bandwidth=self._config.bandwidth),
            proxies={} if proxy is None else {"http": proxy, "https": proxy},
            clock=_PatientClock(self._tell_others),
        )

    def _report(self, version: Version) -> stage.Report:
        last: tuple[str, int] | None = None

        def report(progress: stage.Progress) -> None:
            nonlocal last
            percent = 100 * progress.done // max(1, progress.total)
            # Others may stop the work at each call; the status is written now and then.
            if (progress.phase.value, percent // 5) == last:
                self._tell_others("", None)
                return
            last = (progress.phase.value, percent // 5)
            step = status.Progress(
                progress.phase.value, progress.done, progress.total, progress.fetched
            )
            self.tell(f"version {version}: {progress.phase.value} {percent} %", step)

        return report

    # --- Rebooting --------------------------------------------------------------------------------

    def reboot(self) -> None:
        """Reboot into the staged release once the host's pods have left it.

        Raises:
            ProgramError: the service manager does not take the task.
        """
        self._decision = "draining the pods, then rebooting into the staged release"
        self.tell(self._decision)
        programs.reboot()

    def reboot_by_lock(self) -> None:
        """Likewise, once the reboot lock is ours; may be repeated while that is waited for.

        Raises:
            ProgramError: the service manager does not take the task.
        """
        self._decision = "waiting for the reboot lock, then rebooting into the staged release"
        self.tell(self._decision)
        programs.reboot_by_lock()


def _is_pending(known: State, release: ReleaseManifest) -> bool:
    pending = known.pending
    return pending is not None and (pending.version, pending.root_hash) == (
        release.version,
        release.root.hash,
    )


def _own_entries(context: Context, esp: Esp) -> tuple[Found, ...]:
    """The running version's entries: without one, the others are all that boots this host."""
    mine = bootentries.of_version(esp.names(), context.running.version)
    if not mine:
        raise NotYetError(
            f"the running version {context.running.version} has no boot entry in {esp.folder}: "
            "no other entry may be dropped"
        )
    return mine


def _require_good(mine: tuple[Found, ...]) -> None:
    if not any(found.entry.good for found in mine):
        raise NotYetError(
            f"{mine[0].name}: the running version was not marked good yet; the slot that an update "
            "would overwrite is its way back"
        )


# --- Going back on a person's word ----------------------------------------------------------------


def roll_back(context: Context, report: stage.Report) -> Version:
    """Reject the running version and reboot into the other slot, if what it holds is whole.

    Returns:
        The version that will run.

    Raises:
        RollbackError: there is nothing whole in the other slot, or it has no boot entry.
        ProgramError: the service manager does not take the task.
    """
    layout = context.layout()
    other = layout.inactive.version
    if other is None:
        raise RollbackError(
            f"{layout.inactive.root.path} holds no release: there is nothing to go back to"
        )
    known = context.store.load()
    if known.pending is not None and known.pending.version == other:
        raise RollbackError(
            f"the other slot holds version {other}, which is staged and was not started yet: there "
            "is nothing to go back to"
        )
    if known.is_rejected(other):
        raise RollbackError(
            f"the other slot holds version {other}, which was rejected on this host; "
            f"`bedplate-update unreject {other}` allows it again"
        )
    with context.mounted_esp(layout) as esp:
        if not any(found.entry.version == other for found in boot.others(context, esp)):
            raise RollbackError(f"version {other} has no boot entry that could be started")
    try:
        stage.verify(_tree_of(layout.inactive), layout.inactive, report)
    except BedplateError as error:
        raise RollbackError(f"the other slot's version {other} is damaged: {error}") from error
    at = context.now()
    version = context.running.version

    def step(known: State) -> State:
        if known.pending is not None and known.pending.version == version:
            return state.rolled_back(known, "rolled back by a person", at)
        return state.reject(known, version, "rolled back by a person", at)

    context.store.update(step)
    boot.prefer_other(context)
    programs.reboot()
    return other


def _tree_of(slot: Slot) -> Tree:
    """The proved tree of a named slot: its two GUIDs are the halves of its root hash."""
    root_hash = slot.root.unique.hex + slot.verity.unique.hex
    with BlockFile(slot.verity.path) as device:
        root = verity.read_superblock(device.read(0, 1), root_hash)
        blocks = verity.tree_length(root.blocks) // BLOCK_SIZE
        return verity.parse_tree(device.read(0, blocks), root)


def unreject(context: Context, version: Version) -> None:
    """Allow a rejected version again, and drop its bad entry, which would tell on it.

    Raises:
        TransitionError: it is not rejected.
    """
    at = context.now()
    layout = context.layout()
    context.store.update(lambda known: state.unreject(known, version, at))
    with context.mounted_esp(layout) as esp:
        bad = [each for each in bootentries.of_version(esp.names(), version) if each.entry.bad]
        if version != context.running.version:
            esp.remove(tuple(found.name for found in bad))
