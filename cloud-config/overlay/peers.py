"""Which leases are peers to reach, and which are better left alone. Pure."""

from dataclasses import dataclass

from overlay.lease import Broken, Lease, Leases
from overlay.network import NetworkConfig


@dataclass(frozen=True, slots=True)
class Peers:
    """The other hosts' leases, and those to which no route may lead, with the reason."""

    leases: tuple[Lease, ...] = ()
    unusable: tuple[Broken, ...] = ()


def peers(config: NetworkConfig, leases: Leases, ours: Lease) -> Peers:
    """Tell peers from leases that would draw traffic which is not theirs.

    A lease of this host's own address is no peer: it is one that it had before.
    """
    good, bad = [], list(leases.broken)
    for lease in leases.leases:
        if lease.subnets == ours.subnets or lease.terms.same_host(ours.terms):
            continue
        reason = None
        if not config.contains(lease.subnets):
            reason = "is not within the configured network"
        elif lease.subnets.overlaps(ours.subnets):
            reason = f"overlaps {ours.subnets}, which is this host's"
        if reason is None:
            good.append(lease)
        else:
            bad.append(Broken(str(lease.subnets), f"{lease.subnets} {reason}", lease.subnets))
    return Peers(tuple(good), tuple(bad))
