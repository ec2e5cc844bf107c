"""Which source is asked after which, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cloudconfig.sources import (
    baked,
    command_line,
    config_drive,
    credentials,
    ec2,
    fw_cfg,
    gce,
    nocloud_disk,
    nocloud_net,
    openstack,
)
from cloudconfig.sources.base import Machine, Offer, Source, SourceError

# What is on the machine itself goes before what needs a network, and what somebody asked for by
# name before what the firmware lets expect. The image's own is for when there is no other.
ORDER: tuple[Source, ...] = (
    credentials.SOURCE,
    fw_cfg.SOURCE,
    nocloud_disk.SOURCE,
    config_drive.SOURCE,
    command_line.SOURCE,
    nocloud_net.SOURCE,
    ec2.SOURCE,
    gce.SOURCE,
    openstack.SOURCE,
    baked.SOURCE,
)


class Outcome(Enum):
    """What came of asking a source."""

    USED = "used"  # its document is the configuration
    METADATA = "metadata only"  # it is there, and has no document
    ABSENT = "not there"
    FAILED = "failed"  # it is there, but gave nothing that can be used
    WAITING = "waits for the network"
    NOT_ASKED = "not asked"  # another one was used before its turn


@dataclass(frozen=True, slots=True)
class Tried:
    """One source and what came of it; `reason` is a line for people."""

    source: str
    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The offer that is to be used, if any, and a line for every source there is."""

    offer: Offer | None
    tried: tuple[Tried, ...]

    def _reason(self, outcome: Outcome) -> str:
        lines = (f"{one.source}: {one.reason}" for one in self.tried if one.outcome is outcome)
        return next(lines, "")

    @property
    def failure(self) -> str:
        """Why a source with a better right than the offer's failed, "" if none did.

        The offer is then the second best, and so may be worse than what was used last time.
        """
        return self._reason(Outcome.FAILED)

    @property
    def waiting(self) -> str:
        """Which source with a better right than the offer's waits for the network, or ""."""
        return self._reason(Outcome.WAITING)


def find(machine: Machine, *, network: bool, order: Sequence[Source] = ORDER) -> Found:
    """Ask the sources in their order until one has a document.

    A source that has none, but knows who the machine is, lends that to the one that has the
    document. Without `network`, sources that need it are not asked, just listed as waiting.
    Never raises for what a source does.
    """
    used: Offer | None = None
    metadata: Offer | None = None
    tried = []
    for source in order:
        if used is not None:
            reason = f"{used.source} comes before it"
            tried.append(Tried(source.name, Outcome.NOT_ASKED, reason))
            continue
        outcome, reason, offer = _ask(source, machine, network=network)
        tried.append(Tried(source.name, outcome, reason))
        if outcome is Outcome.USED and offer:
            used = offer if metadata is None else _completed(offer, metadata)
        elif outcome is Outcome.METADATA:
            metadata = metadata or offer
    return Found(used or metadata, tuple(tried))


def wants_network(machine: Machine) -> str:
    """What lets expect a source that needs the network, or ""."""
    evidence = (source.present(machine) for source in ORDER if source.needs_network)
    return next((reason for reason in evidence if reason), "")


def _ask(source: Source, machine: Machine, *, network: bool) -> tuple[Outcome, str, Offer | None]:
    try:
        evidence = source.present(machine)
        if not evidence:
            return Outcome.ABSENT, "nothing speaks for it", None
        if source.needs_network and not network:
            return Outcome.WAITING, evidence, None
        offer = source.look(machine)
    except SourceError as error:
        return Outcome.FAILED, str(error), None
    if offer is None:
        return Outcome.ABSENT, f"{evidence}, but it was gone when it was looked at", None
    if offer.document is None:
        reason = f"{evidence}, without a document"
        return Outcome.METADATA, reason, replace(offer, reason=reason)
    return Outcome.USED, evidence, replace(offer, reason=evidence)


def _completed(offer: Offer, metadata: Offer) -> Offer:
    """The document of one source with what another one knows of the machine."""
    return replace(
        offer,
        instance_id=offer.instance_id or metadata.instance_id,
        hostname=offer.hostname or metadata.hostname,
        public_keys=offer.public_keys or metadata.public_keys,
        network=offer.network or metadata.network,
        variables={**metadata.variables, **offer.variables},
        warnings=(*metadata.warnings, *offer.warnings),
        reason=f"{offer.reason}; who the machine is says {metadata.source}",
    )
