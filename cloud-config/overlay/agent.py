"""The agent: one thread that decides, and others that wait for it and tell it.

Each turn brings the host closer to what settings, leases and the kernel's state ask for, as far as
they are known by then; then it sleeps until somebody tells something, or something is due.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from hostkit.following import raising
from hostkit.timing import boottime
from overlay import report
from overlay.egress import Egress
from overlay.forwarding import Forwarding, Part
from overlay.handover import previous_subnets
from overlay.healthz import serve
from overlay.holding import Holding
from overlay.membership import Membership
from overlay.netlink import Kernel
from overlay.notices import Notices
from overlay.peers import peers
from overlay.places import Places
from overlay.settings import Settings, Stamp, load, stamped
from overlay.view import View, broken_texts, build, view_peers
from updater import notify
from updater.errors import BedplateError

if TYPE_CHECKING:
    from http.server import HTTPServer

    from overlay.lease import Broken
    from overlay.report import Peer, Status

_LOG = logging.getLogger(__name__)
# A look mends what no notice tells of. Among many peers it is dear, and had less often for that.
_LOOK_SECONDS = 10.0
_LOOK_SHARE = 0.02  # of a processor at most
_LONGEST_WAIT = 10.0
_SOONEST_LOOK = 0.5
_SOONEST_WHOLE = 0.5  # after peers were followed by themselves
_SOONEST_REPORT = 1.0
_RETRY_SECONDS = 2.0
_JUMP_SECONDS = 1.0


class Agent:
    """See the module; `stop` may be called by a signal's handler."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._stopping = False
        self._settings: Settings | None = None
        self._stamp: Stamp | None = None
        self._member: Membership | None = None
        self._healthz: HTTPServer | None = None
        self._egress = Egress(places)
        self._look_at = 0.0
        self._looked = 0.0
        self._fresh = False  # a look was had, and its findings were not acted on yet
        self._wall = time.time() - boottime()
        self._faults: dict[str, str] = {}
        self._peers: tuple[Peer, ...] = ()
        self._unusable: tuple[Broken, ...] = ()
        self._in_force = False
        self._whole_at = math.inf
        self._fenced = False
        self._ready = False
        self._status: Status | None = None
        self._reported = 0.0
        self._report_at = math.inf

    def stop(self) -> None:
        """End soon, and leave kernel and lease as they are."""
        self._queue.put(self._stop)

    def run(self) -> int:
        """Work until `stop`, or until no settings ask for an overlay any more; the exit status.

        Raises:
            OSError: there are no netlink sockets to be had.
        """
        with Kernel() as self._kernel, Notices(self._kernel.port) as self._notices:
            self._forwarding = Forwarding(self._kernel, self._places)
            threading.Thread(target=self._hear, name="kernel", daemon=True).start()
            while not self._stopping:
                self._turn()
                self._listen()
        notify.send("STOPPING=1")
        return 0

    def _stop(self) -> None:
        self._stopping = True

    # --- Waiting ----------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Take all that was told; wait for the first of it until something is due."""
        # A wait does not count the time that the machine sleeps, and the fence does.
        due = min(self._look_at, self._report_at, self._whole_at, boottime() + _LONGEST_WAIT)
        if self._member is not None:
            due = min(due, self._member.next_time())
        try:
            self._queue.get(timeout=max(0.0, due - boottime()))()
            while not self._stopping:
                self._queue.get_nowait()()
        except Empty:
            return

    def _hear(self) -> None:
        """On a thread of its own: pass on what the kernel tells."""
        try:
            while True:
                if self._notices.wait():
                    self._queue.put(self._noticed)
        except BaseException as error:  # noqa: BLE001 - see `raising`
            self._queue.put(partial(raising, error))

    def _noticed(self) -> None:
        self._look_at = min(self._look_at, self._looked + _SOONEST_LOOK)

    # --- A turn -----------------------------------------------------------------------------------

    def _turn(self) -> None:
        looking = boottime() >= self._look_at
        begun = time.thread_time()
        if looking:
            self._look()
            if self._stopping:
                return
        member, settings = self._member, self._settings
        if member is not None and settings is not None:
            self._choose_egress(member, settings)
            member.tend(self._egress.terms, self._fence)
            if member.dirty or boottime() >= self._whole_at:
                member.dirty = False
                self._forward(member, settings)
        if looking:
            pause = max(_LOOK_SECONDS, (time.thread_time() - begun) / _LOOK_SHARE)
            self._look_at = min(self._look_at, self._looked + pause)
        self._report()

    @contextmanager
    def _subject(self, name: str) -> Iterator[None]:
        """What fails inside is a fault of this subject, until it succeeds."""
        try:
            yield
        except (BedplateError, OSError) as error:
            if self._faults.get(name) != str(error):
                _LOG.warning("%s: %s", name, error)
            self._faults[name] = str(error)
            self._look_at = min(self._look_at, boottime() + _RETRY_SECONDS)
        else:
            self._faults.pop(name, None)

    def _look(self) -> None:
        """See what changed without a word: settings, clock, interfaces, kernel."""
        self._looked = boottime()
        self._look_at = math.inf
        with self._subject("settings"):
            self._follow_settings()
        member = self._member
        if member is None or self._stopping:
            return
        wall = time.time() - boottime()
        if abs(wall - self._wall) > _JUMP_SECONDS:
            self._wall = wall
            member.hurry()
        self._forwarding.forget()
        with self._subject("interfaces"):
            if self._egress.see(self._kernel.surroundings()):
                member.reconnect()
        self._fresh = True
        member.dirty = True

    def _choose_egress(self, member: Membership, settings: Settings) -> None:
        """Choose by what packets leave; peers follow what changes at once."""
        network = member.configuration.network if member.configuration else None
        if network is None or not (self._fresh or network is not self._egress.network):
            return
        joined = member.holding.lease is not None
        with self._subject("outer interface"):
            if self._egress.choose(network, settings, joined=joined):
                member.hurry()
        self._notices.outer = self._egress.outer.name if self._egress.outer else None

    def _fence(self) -> bool:
        """Stop all traffic of our subnet; whether that was possible."""
        if not self._fenced:
            _LOG.warning("traffic is stopped: the subnet may be another host's")
        self._fenced = True
        self._withdraw()
        return "kernel" not in self._faults

    def _withdraw(self) -> None:
        self._in_force = False
        self._peers, self._unusable = (), ()
        with self._subject("kernel"):
            self._forwarding.withdraw()

    def _forward(self, member: Membership, settings: Settings) -> None:
        """Bring the kernel to what is known now; without a lease that holds, nothing is ours."""
        whole_at, self._whole_at = self._whole_at, math.inf
        quick = self._in_force and not self._fresh and boottime() < whole_at
        lease, leases = member.holding.lease, member.leases()
        if lease is None or not member.may_forward():
            self._withdraw()
            return
        network, backend = self._egress.network, self._egress.backend
        if network is None or backend is None or leases is None:
            # An earlier agent has left traffic as it was while etcd was there, and so do we.
            if previous_subnets(settings.subnet_file) == lease.subnets:
                self._tell_ready()
            return
        if not network.holds(lease.subnets):
            # The network has become another: the lease is about to be given back.
            return
        known = peers(network, leases, lease)
        part = Part(network, backend, lease, known.leases)
        around = self._egress.around if self._fresh or not self._in_force else None
        self._in_force = self._fresh = False
        with self._subject("kernel"):
            if quick and self._forwarding.follow(part):
                self._whole_at = min(whole_at, boottime() + _SOONEST_WHOLE)
            else:
                desired = self._forwarding.bring(part, settings, around)
                self._peers = view_peers(known.leases, desired.unreachable)
                self._unusable = known.unusable
            self._in_force, self._fenced = True, False
            self._tell_ready()

    def _tell_ready(self) -> None:
        if not self._ready:
            self._ready = True
            notify.send("READY=1")

    # --- Settings ---------------------------------------------------------------------------------

    def _follow_settings(self) -> None:
        """Read the settings if their file is another than last time.

        Raises:
            SettingsError: they are wrong; what was set before stays in force.
        """
        stamp = stamped(self._places)
        if stamp == self._stamp:
            self._raise_again()
            return
        self._stamp = stamp
        if stamp is None and self._settings is not None:
            self._leave()
            return
        settings = load(self._places)
        if settings == self._settings:
            return
        before, self._settings = self._settings, settings
        if self._member is not None:
            self._member.close()
        self._member = Membership(settings, self._places.holding, self._queue.put)
        if before is None or before.healthz != settings.healthz:
            self._serve_health(settings)

    def _raise_again(self) -> None:
        """Settings that were wrong are so until their file is another."""
        if "settings" in self._faults:
            raise BedplateError(self._faults["settings"])

    def _leave(self) -> None:
        """The cloud-config asks for no overlay any more."""
        _LOG.info("no settings any more: this host leaves the network")
        self._withdraw()
        if self._member is not None:
            self._member.leave()
        report.remove(self._places)
        self._stopping = True

    def _serve_health(self, settings: Settings) -> None:
        if self._healthz is not None:
            self._healthz.shutdown()
            self._healthz.server_close()
            self._healthz = None
        if settings.healthz is not None:
            self._healthz = serve(settings.healthz, lambda: self._health)

    # --- Saying so --------------------------------------------------------------------------------

    @property
    def _health(self) -> str:
        """Why this host is not well, or nothing; asked by another thread."""
        status = self._status
        if self._in_force:
            return ""
        return (status.fault if status else "") or "the subnet is not in force yet"

    def _report(self) -> None:
        """Publish what changed; at most once a second, unless it is of weight."""
        status, before = build(self._view(), self._status), self._status
        notify.send("WATCHDOG=1")
        self._report_at = math.inf
        if status == before:
            return
        line = report.note(status)
        weighty = before is None or line != report.note(before)
        if not weighty and boottime() < self._reported + _SOONEST_REPORT:
            self._report_at = self._reported + _SOONEST_REPORT
            return
        self._status, self._reported = status, boottime()
        if before is None or (before.state, before.fault) != (status.state, status.fault):
            _LOG.info("%s", line)
        if weighty:
            notify.status(line)
        try:
            report.publish(status, self._places)
        except OSError as error:
            _LOG.warning("cannot write the status: %s", error)

    def _view(self) -> View:
        member, settings = self._member, self._settings
        return View(
            now=boottime(),
            wall=self._wall,
            margin=settings.timing.margin if settings else 0,
            masquerade=settings is not None and settings.masquerade,
            holding=member.holding if member else Holding(),
            in_force=self._in_force,
            fenced=self._fenced,
            network=self._egress.network,
            backend=self._egress.backend,
            outer=self._egress.outer,
            peers=self._peers,
            host_faults=tuple(self._faults.values()),
            etcd_faults=member.problems() if member else (),
            notices=(
                *self._egress.notices(),
                *broken_texts(self._unusable),
                *self._forwarding.notices(self._egress.around),
            ),
            kernel_changes=self._forwarding.changes,
            leases_taken=member.joined if member else 0,
        )
