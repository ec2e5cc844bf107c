"""From what the agent knows to what it says of itself. Pure."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from overlay.backends.base import Backend, Unreachable, families
from overlay.holding import Holding
from overlay.lease import Broken, Lease, Subnets, Terms
from overlay.network import NetworkConfig
from overlay.outer import Outer
from overlay.report import HeldLease, OuterInterface, Peer, State, Status

_MOST_NOTICES = 20


@dataclass(frozen=True, slots=True)
class View:
    """What the agent knows; times by `boottime`, and `wall` is what to add for the time of day.

    `margin` is how many seconds after the fence our lease ends; `in_force`: the kernel has what it
    should. `host_faults` are this host's own, `etcd_faults` come from etcd, the first counts most.
    """

    now: float
    wall: float
    margin: int
    masquerade: bool
    holding: Holding
    in_force: bool
    fenced: bool
    network: NetworkConfig | None
    backend: Backend | None
    outer: Outer | None
    peers: tuple[Peer, ...]
    host_faults: tuple[str, ...]
    etcd_faults: tuple[str, ...]
    notices: tuple[str, ...]
    kernel_changes: int
    leases_taken: int


def build(view: View, before: Status | None) -> Status:
    """The status; its `since` is that of `before` as long as state and fault are the same."""
    state = _state(view)
    fault = next(iter((*view.host_faults, *view.etcd_faults)), "")
    since = datetime.fromtimestamp(view.now + view.wall, UTC)
    if before is not None and (before.state, before.fault) == (state, fault):
        since = before.since
    return Status(
        state=state,
        fault=fault,
        since=since,
        networks=_networks(view.network),
        backend=view.network.backend.type.value if view.network else "",
        mtu=view.backend.mtu if view.backend else None,
        masquerade=view.masquerade,
        lease=_lease(view),
        outer=_outer(view.outer),
        peers=view.peers,
        notices=(*view.notices[:_MOST_NOTICES], *_more(len(view.notices) - _MOST_NOTICES)),
        kernel_changes=view.kernel_changes,
        leases_taken=view.leases_taken,
    )


def _state(view: View) -> State:
    if not view.holding.may_forward(view.now):
        return State.FENCED if view.fenced else State.STARTING
    if view.host_faults:
        return State.FAILING
    return State.CUT_OFF if view.etcd_faults or not view.in_force else State.READY


def _networks(network: NetworkConfig | None) -> tuple[str, ...]:
    ranges = (network.ipv4, network.ipv6) if network else ()
    return tuple(str(each.network) for each in ranges if each)


def _lease(view: View) -> HeldLease | None:
    lease, fence = view.holding.lease, view.holding.until
    if lease is None:
        return None
    ends = stops = None
    if math.isfinite(fence):
        stops = datetime.fromtimestamp(fence + view.wall, UTC)
        ends = datetime.fromtimestamp(fence + view.margin + view.wall, UTC)
    return HeldLease(subnet_texts(lease.subnets), _hex(lease), stops, ends)


def _hex(lease: Lease) -> str:
    """An etcd lease as etcdctl shows it; empty for a reservation."""
    return f"{lease.lease:x}" if lease.lease else ""


def _outer(outer: Outer | None) -> OuterInterface | None:
    if outer is None:
        return None
    addresses = (outer.ipv4, outer.ipv6)
    public = (outer.public_ipv4, outer.public_ipv6)
    return OuterInterface(outer.name, outer.mtu, _texts(addresses), _texts(public))


def subnet_texts(subnets: Subnets) -> tuple[str, ...]:
    """A host's subnets, IPv4 first."""
    return tuple(map(str, families(subnets)))


def view_peers(leases: Iterable[Lease], unreachable: Iterable[Unreachable]) -> tuple[Peer, ...]:
    """The peers as others see them, with the reason where there is no way to one."""
    reasons = {each.subnet: each.reason for each in unreachable}

    def reason(subnets: Subnets) -> str:
        texts = subnet_texts(subnets)
        names = (str(subnets), " ".join(texts), *texts)
        return next((reasons[name] for name in names if name in reasons), "")

    return tuple(
        Peer(
            subnet_texts(lease.subnets),
            public_texts(lease.terms),
            lease.terms.backend,
            _hex(lease),
            reason(lease.subnets) if reasons else "",
        )
        for lease in leases
    )


def public_texts(terms: Terms) -> tuple[str, ...]:
    """Where a host is, IPv4 first."""
    return _texts((terms.public_ipv4, terms.public_ipv6))


def broken_texts(broken: Iterable[Broken]) -> tuple[str, ...]:
    """What to tell of leases that are none, or that no route may lead to."""
    return tuple(f"a lease is left out: {each.reason}" for each in broken)


def _texts(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(each) for each in values if each is not None)


def _more(count: int) -> tuple[str, ...]:
    return (f"and {count} more",) if count > 0 else ()
