"""Services on this host, kept as the cluster wants them: addresses in etcd, names, balance.

All of it is called on the agent's own thread, and nothing waits: one worker writes addresses,
another brings names and balance, and what came of it is heard by `post`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from random import SystemRandom

from hostkit.etcd import Access, Client, Store
from hostkit.following import Post
from podagent.cluster.records import Report
from podagent.cluster.view import Entry, View, Workload
from podagent.services import networks
from podagent.services.addresses import Take, plan, write
from podagent.services.apply import bring
from podagent.services.desired import Desired, desire
from podagent.services.endpoints import ready_addresses
from podagent.services.records import Held, address_key, read_held
from podagent.services.task import Task
from updater.errors import BedplateError

_FEW = 3  # tries that are lost to others without a fault
_RANDOM = SystemRandom()


@dataclass(frozen=True, slots=True)
class Claims:
    """What decides on addresses: workloads, and the values of services' keys by workload."""

    workloads: tuple[Workload, ...]
    services: tuple[tuple[str, Entry[bytes]], ...]

    @property
    def held(self) -> list[Held]:
        """The addresses that etcd has."""
        return [read_held(name, each.value, each.revision) for name, each in self.services]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that names and balance are made from; reports are by host and pod."""

    claims: Claims
    reports: tuple[tuple[tuple[str, str], Entry[Report]], ...]


def see(view: View) -> Seen:
    """What matters here of what is heard.

    It is compared in place of the view's revision: one transaction's changes have one revision, and
    they may come one by one.
    """
    claims = Claims(tuple(view.workloads.values()), tuple(view.services.items()))
    return Seen(claims, tuple(view.reports.items()))


def make_desired(seen: Seen, host: str) -> Desired:
    """What this host is to answer and to balance; a workload that is refused is as it was last."""
    manifests = [each.manifest for each in seen.claims.workloads if each.manifest is not None]
    ready = ready_addresses(manifests, ((pod, each.value) for (_, pod), each in seen.reports))
    return desire(manifests, seen.claims.held, ready, host=host)


class Services:
    """See the module; `faults` has why something is not as it should be, by its subject.

    Nothing is changed before the cluster was listed once, nor while etcd is away.
    """

    def __init__(
        self,
        access: Access,
        host: str,
        runtime: Path,
        wanted: IPv4Network,
        *,
        post: Post,
        subnet_file: Path,
    ) -> None:
        """On `host`.

        Args:
            access: to etcd.
            host: this host's name.
            runtime: see `apply.bring`.
            wanted: the range that addresses are chosen from.
            post: brings what the workers found to the agent's thread.
            subnet_file: flannel's, where there is an overlay: its network is in there.
        """
        self.faults: dict[str, str] = {}
        self._host = host
        self._runtime = runtime
        self._range = wanted
        self._subnet_file = subnet_file
        self._store = Client(access)
        self._giving: Task[Claims, _Given] = Task("addresses", post, self._given)
        self._bringing: Task[Seen, _Brought] = Task("services", post, self._was_brought)
        self._brought: Desired | None = None

    def close(self) -> None:
        """Do nothing more; names and balance stay as they are."""
        self._giving.close()
        self._bringing.close()
        self._store.close()

    def next_time(self) -> float:
        """When there is something to do, by `boottime`, whatever is heard until then."""
        return min(self._giving.next_time(), self._bringing.next_time())

    def tend(self, view: View) -> None:
        """Follow what was heard, and try again what failed; to be called each turn."""
        if view.revision == 0:
            return
        seen = see(view)
        self._bringing.follow(seen, self._bring)
        self._giving.follow(seen.claims, self._give)

    # --- Names and balance ------------------------------------------------------------------------

    def _bring(self, seen: Seen, looks: bool) -> "_Brought":  # noqa: FBT001 - as `Task` has it
        """On the worker; `self._brought` is let alone meanwhile."""
        desired = make_desired(seen, self._host)
        if desired != self._brought or looks:
            try:
                bring(desired, self._brought, self._runtime)
            except (BedplateError, OSError) as error:
                return _Brought(None, str(error))
        return _Brought(desired)

    def _was_brought(self, found: "_Brought", _failures: int) -> bool:
        self._brought = found.desired
        self.faults.pop("services", None)
        if found.error:
            self.faults["services"] = found.error
        return not found.error

    # --- Addresses --------------------------------------------------------------------------------

    def _give(self, claims: Claims, _looks: bool) -> "_Given":  # noqa: FBT001 - as `Task` has it
        """On the worker."""
        return give(self._store, claims, self._range, self._subnet_file)

    def _given(self, found: "_Given", failures: int) -> bool:
        for subject in self.faults.keys() - {"services"}:
            del self.faults[subject]
        self.faults.update(found.faults)
        # As a rule another host was faster, and that is heard soon.
        if found.error or (found.lost and failures >= _FEW):
            self.faults["addresses"] = found.error or found.lost
        return not (found.error or found.lost)


@dataclass(frozen=True, slots=True)
class _Brought:
    """What is in place; None: nobody knows, for it failed."""

    desired: Desired | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Given:
    """What stands against addresses by its subject, what etcd did not let happen, what failed."""

    faults: Mapping[str, str] = field(default_factory=dict)
    lost: str = ""
    error: str = ""


def give(store: Store, claims: Claims, span: IPv4Network, subnet_file: Path) -> _Given:
    """Write what a plan of addresses asks for."""
    faults: Mapping[str, str] = {}
    lost = ""
    try:
        found = plan(
            claims.workloads,
            claims.held,
            span=span,
            networks=networks.known(subnet_file),
            random=_RANDOM,
        )
        faults = {f"service {name}": why for name, why in found.faults.items()}
        for action in found.actions:
            if not write(store, action):
                lost = _lost(action)
    except (BedplateError, OSError) as error:
        return _Given(faults, lost, str(error))
    return _Given(faults, lost)


def _lost(action: object) -> str:
    if isinstance(action, Take):
        key = address_key(action.address)
        return (
            f"etcd does not take {action.address} for {action.name}; if {key} is there and no "
            "service has that address, delete the key"
        )
    return f"etcd does not let an address go that no service needs any more: {action}"
