"""Brings a host's names and balance to what is desired; what is in place already is left alone."""

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address
from pathlib import Path

from podagent.services import balance, flows, names
from podagent.services.desired import Desired


def bring(desired: Desired, before: Desired | None, runtime: Path) -> bool:
    """Write and load what differs; whether something did.

    Args:
        desired: see `desired.desire`.
        before: what was brought last without an error, if anything was since the agent began.
        runtime: a folder below /run; aardvark-dns reads its folder `names`, which is there.

    Raises:
        ProgramError: nft refuses the table.
        FlowsError: the kernel refuses to forget connections.
        OSError: a file cannot be written.
    """
    # A name may lead to a new address: that must lead somewhere first.
    loaded = balance.observe() != desired.table
    if loaded:
        balance.put(desired.table, runtime / "services.nft")
    named = names.put(runtime / "names", desired.names)
    if before is None or (loaded and before == desired):
        # Nobody knows where datagrams went meanwhile.
        flows.forget(desired.datagrams)
    else:
        flows.forget(_changed(desired.datagrams, before.datagrams))
    return loaded or named


def _changed(
    now: Mapping[IPv4Address, Collection[IPv4Address]],
    before: Mapping[IPv4Address, Collection[IPv4Address]],
) -> Mapping[IPv4Address, Collection[IPv4Address]]:
    """Those with other replicas; each look for their connections costs some milliseconds."""
    return {each: replicas for each, replicas in now.items() if before.get(each) != replicas}
