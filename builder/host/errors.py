"""What can go wrong between a workstation and a host; each message begins with the host's name."""

from http import HTTPStatus

from updater.errors import BedplateError


class HostError(BedplateError):
    """A host did not do what it was asked, or its answer is none."""


class UnreachableError(HostError):
    """No answer, or half of one; a host that reboots gives none for a while."""


class DistrustError(HostError):
    """One of the two does not trust the other's certificate."""


class RefusedError(HostError):
    """The host answered that it does not do this; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        # What a person gave is wrong, as if this program had found it.
        self.exit_code = 2 if status == HTTPStatus.BAD_REQUEST else 1

    @property
    def passes(self) -> bool:
        """Whether the same may be answered in a while."""
        return self.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
