"""What a document asks that this machine cannot do."""

from hostkit.document.schema import Fault
from updater.errors import InputError


class RenderError(InputError):
    """Only the facts about a machine could tell; holds every fault, whose paths are a document's.

    Each message names the key and what to do.
    """

    def __init__(self, *faults: Fault) -> None:
        self.faults = faults
        super().__init__("\n".join(fault.message for fault in faults))
