"""This host's part in the cluster: the configuration, the leases, our own; kept up with etcd.

Everything here runs on the agent's own thread, and nothing waits: a worker asks etcd, followers
hear of changes, and what they find comes back through `post`.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import SystemRandom

from hostkit.etcd import Change, Client, EtcdError, Snapshot
from hostkit.following import Follower, Listener, Post
from hostkit.timing import boottime
from hostkit.worker import Worker
from overlay import holding as life
from overlay.handover import previous_subnets
from overlay.holding import Holding, Task
from overlay.lease import Broken, Lease, Leases, Terms
from overlay.manager import Configuration, Manager
from overlay.settings import Settings
from overlay.tend import tend
from updater.errors import BedplateError
from updater.files import write_atomic

_SMALL_FILE = 64 * 1024
_ASK_AGAIN = 2.0  # seconds, for a configuration that could not be read
_RANDOM = SystemRandom()


class Membership:
    """What is known of the cluster, and what we hold of it.

    `faults` has why something is not as it should be, by its subject; `dirty` is set when what the
    kernel should hold may be something else by now; `joined` counts the leases taken.
    """

    def __init__(self, settings: Settings, saved: Path, post: Post) -> None:
        self.configuration: Configuration | None = None
        self.faults: dict[str, str] = {}
        self.dirty = True
        self.joined = 0
        self._settings = settings
        self._saved = saved
        self.holding = self._restored()
        self._table: dict[str, Lease | Broken] = {}
        self._revision: int | None = None
        self._read_at = math.inf
        self._leaking = False
        self._store = Client(settings.access)
        self._manager = Manager(
            self._store, settings.prefix, settings.timing.ttl, first=settings.network_config
        )
        self._worker = Worker("etcd", post)
        self._followers = (
            self._follow(self._manager.config_key, self._configured, self._configured, post),
            self._follow(self._manager.subnets_prefix, self._listed, self._lease_changed, post),
        )

    def _follow(
        self,
        prefix: str,
        listed: Callable[[Snapshot], None],
        changed: Callable[[Change], None],
        post: Post,
    ) -> Follower:
        listener = Listener(listed, changed, partial(self._heard, f"watch of {prefix}"))
        return Follower(self._store, prefix, listener, post)

    def close(self) -> None:
        """Hear and ask no more; what we hold stays ours."""
        for follower in self._followers:
            follower.stop()
        self._worker.close()
        self._store.close()

    def leases(self) -> Leases | None:
        """All leases of the network; None as long as they are not known."""
        if self._revision is None:
            return None
        return Leases(
            self._revision,
            tuple(each for each in self._table.values() if isinstance(each, Lease)),
            tuple(each for each in self._table.values() if isinstance(each, Broken)),
        )

    def problems(self) -> tuple[str, ...]:
        """All that is wrong between us and etcd, or with what it holds."""
        own = self.holding.lost or self.holding.problem
        return (*self.faults.values(), *((own,) if own else ()))

    # --- Our lease --------------------------------------------------------------------------------

    def may_forward(self) -> bool:
        """Whether traffic of our subnet may run now."""
        return self.holding.may_forward(boottime())

    def next_time(self) -> float:
        """When `tend` is due again, by `boottime`."""
        if self._leaking:
            soon = math.inf  # the agent tries again by itself
        elif self._worker.busy or not self._can_ask():
            # What is under way will be told; only the fence waits for nothing.
            soon = self.holding.until if self.holding.lease else math.inf
        else:
            soon = life.next_step(self.holding, boottime()).at
        return min(soon, self._read_at)

    def tend(self, terms: Terms | None, fence: Callable[[], bool]) -> None:
        """Take the next step of our lease's life, if it is time; `fence` stops all traffic.

        Args:
            terms: what peers are to be told of this host; None as long as that is not known.
            fence: whether no packet leaves the host under our subnet any more.
        """
        if boottime() >= self._read_at:
            self._read_configuration()
        step = life.next_step(self.holding, boottime())
        if step.task is Task.FENCE:
            self._leaking = not fence()
            if self._leaking:
                return
            gone = self.holding
            self._hold(life.fenced(gone, boottime()))
            self._give_back(gone)
        elif step.task in (Task.JOIN, Task.RENEW) and terms and not self._worker.busy:
            self._ask(step.task, terms)

    def _ask(self, task: Task, terms: Terms) -> None:
        configuration = self.configuration
        if configuration is None or not self._can_ask():
            return
        work = partial(
            tend,
            self._manager,
            self._settings.timing,
            self.holding,
            task,
            configuration=configuration,
            terms=terms,
            random=_RANDOM,
        )
        self._worker.do(work, partial(self._tended, self.holding))

    def hurry(self) -> None:
        """See to our lease at once."""
        self.holding = life.hurry(self.holding, boottime())

    def reconnect(self) -> None:
        """Ask by new connections: those that there are would only be found dead after a while."""
        self._store.close()
        for follower in self._followers:
            follower.reconnect()
        self.hurry()

    def leave(self) -> None:
        """Give our subnet back, once its traffic has stopped, and close."""
        lease = self.holding.lease
        self._hold(Holding())
        if lease:
            _release(self._manager, lease)
        self.close()

    def _can_ask(self) -> bool:
        """Whether there is a configuration to join by; an old one does for what we have."""
        return self.configuration is not None and (
            self.holding.lease is not None or "configuration" not in self.faults
        )

    def _tended(self, asked: Holding, found: Holding) -> None:
        if self.holding.lease != asked.lease:
            # Traffic was stopped in the meantime; joining finds our lease, if it is still there.
            return
        if asked.lease is None and found.lease is not None:
            self.joined += 1
        hurried = self.holding is not asked
        self._hold(found)
        if hurried:
            # What called for haste may have come after etcd was asked.
            self.hurry()

    def _hold(self, found: Holding) -> None:
        if found.lease != self.holding.lease:
            self.dirty = True
        self.holding = found
        try:
            # Before any traffic: whoever is started after us must know when to stop it.
            write_atomic(self._saved, life.save(found), mode=0o600)
            self.faults.pop("state", None)
        except OSError as error:
            self.faults["state"] = f"cannot write {self._saved}: {error.strerror}"

    def _restored(self) -> Holding:
        try:
            with self._saved.open("rb") as stream:
                return life.restore(stream.read(_SMALL_FILE), boottime())
        except (OSError, ValueError):
            return Holding(previous=previous_subnets(self._settings.subnet_file))

    def _give_back(self, gone: Holding) -> None:
        """A subnet that the network no longer has need not stay taken for the rest of its TTL."""
        lease, configuration = gone.lease, self.configuration
        if lease and configuration and not configuration.network.holds(lease.subnets):
            self._worker.do(partial(_release, self._manager, lease), lambda _: None)

    # --- What is heard ----------------------------------------------------------------------------

    def _configured(self, _: Snapshot | Change) -> None:
        self._read_configuration()

    def _read_configuration(self) -> None:
        self._read_at = math.inf
        self._worker.do(partial(_configuration, self._manager), self._configuration_read)

    def _configuration_read(self, found: Configuration | BedplateError) -> None:
        """A configuration that is wrong changes nothing that works already."""
        if isinstance(found, BedplateError):
            self.faults["configuration"] = str(found)
            if isinstance(found, EtcdError):
                self._read_at = boottime() + _ASK_AGAIN
            return
        self.faults.pop("configuration", None)
        before, self.configuration = self.configuration, found
        if before != found:
            self.dirty = True
            self.hurry()

    def _listed(self, snapshot: Snapshot) -> None:
        self._table = {}
        for item in snapshot.items:
            self._table[item.key] = self._manager.read(
                item.key, item.value, item.lease, item.mod_revision
            )
        self._heard_of_leases(snapshot.revision)

    def _lease_changed(self, change: Change) -> None:
        if change.value is None:
            self._table.pop(change.key, None)
        else:
            self._table[change.key] = self._manager.read(
                change.key, change.value, change.lease, change.revision
            )
        self._heard_of_leases(change.revision)

    def _heard_of_leases(self, revision: int) -> None:
        self._revision = revision
        self.dirty = True
        ours = self.holding.lease
        if ours:
            there = self._table.get(f"{self._manager.subnets_prefix}{ours.subnets}")
            if not isinstance(there, Lease) or there.revision != ours.revision:
                # Perhaps it is ours no more, or an operator made a reservation of it.
                self.hurry()

    def _heard(self, subject: str, reason: str) -> None:
        if reason:
            self.faults[subject] = reason
        elif self.faults.pop(subject, None):
            # What etcd lost meanwhile, or gave to others, is to be known at once.
            self.hurry()


def _configuration(manager: Manager) -> Configuration | BedplateError:
    try:
        return manager.configuration()
    except BedplateError as error:
        return error


def _release(manager: Manager, lease: Lease) -> None:
    """Without etcd the lease ends by itself."""
    with suppress(EtcdError):
        manager.release(lease)
