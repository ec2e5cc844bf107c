"""`bedplate.network` and NoCloud's `network-config`: version 2's words (netplan's)."""

from dataclasses import dataclass

from hostkit.document.schema import Section, key

from cloudconfig.kinds import Integer


@dataclass(frozen=True, slots=True)
class Network:
    """Interfaces and addresses."""

    version: int = key(Integer(1, 2), "Of these words.", default=2)


NETWORK = Section(Network)
