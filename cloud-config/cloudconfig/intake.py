"""The document of this boot: from the first source that has one."""

from dataclasses import replace

from cloudconfig import variables
from cloudconfig.host import Stage
from cloudconfig.places import Places
from cloudconfig.report import ConfigStatus, InForce, Tried
from cloudconfig.sources import order
from cloudconfig.sources.base import Machine, Offer
from cloudconfig.sources.order import Found, Outcome
from cloudconfig.store import Input
from updater.errors import BedplateError
from updater.programs import run

_SETTLE_SECONDS = 60


def take(places: Places, stage: Stage) -> tuple[Input | None, ConfigStatus]:
    """What the sources give, and what was found out about them.

    A source that is there but fails is a fault, so that the last good document stays in force.
    """
    machine = Machine(places.root)
    found = order.find(machine, network=stage is not Stage.EARLY)
    if not _is_settled(found) and stage is Stage.EARLY:
        _settle()
        found = order.find(machine, network=False)
    offer = found.offer
    tried = tuple(Tried(one.source, f"{one.outcome.value}: {one.reason}") for one in found.tried)
    status = ConfigStatus(
        in_force=InForce.DEFAULTS,
        source=offer.source if offer else "",
        reason=offer.reason if offer else "",
        instance_id=offer.instance_id if offer else "",
        tried=tried,
        warnings=offer.warnings if offer else (),
        faults=(found.failure,) if found.failure else (),
        waiting_for=(found.waiting,) if found.waiting else (),
    )
    if offer is None or found.failure or found.waiting:
        return None, status
    given = _input(offer)
    unknown = variables.wanted(given.document) - given.variables.keys()
    if unknown and stage is Stage.EARLY:
        # Without the network this host has no address yet.
        return None, replace(status, waiting_for=tuple(f"${name}" for name in sorted(unknown)))
    own = variables.own_addresses(unknown)
    return replace(given, variables={**given.variables, **own}), status


def _is_settled(found: Found) -> bool:
    """Whether a source was found that no disk can come before."""
    disks = {"nocloud-disk", "config-drive"}
    return any(
        one.outcome is Outcome.USED and one.source not in disks
        for one in found.tried[: len(found.tried) - 1]
    )


def _settle() -> None:
    """Wait until udev has looked at all disks that the kernel knows by now."""
    try:
        run(("udevadm", "settle", f"--timeout={_SETTLE_SECONDS}"), time_out=_SETTLE_SECONDS + 10.0)
    except BedplateError:
        return  # what it has not found by now is not there


def _input(offer: Offer) -> Input:
    return Input(
        document=offer.document if offer.document is not None else b"#cloud-config\n",
        file=offer.file,
        source=offer.source,
        instance_id=offer.instance_id,
        hostname=offer.hostname,
        public_keys=offer.public_keys,
        network=offer.network,
        variables=offer.variables,
    )
