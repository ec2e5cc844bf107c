"""What a call to etcd may end in."""

from updater.errors import BedplateError


class EtcdError(BedplateError):
    """etcd did not do what it was asked; the message says why."""


class Unavailable(EtcdError):  # noqa: N818 - gRPC's word for it
    """No endpoint gave a usable answer; ask again later.

    `applied` is False when it is certain that etcd has not done what it was asked, else it may
    have.
    """

    def __init__(self, message: str, *, applied: bool = False) -> None:
        super().__init__(message)
        self.applied = applied


class Refused(EtcdError):  # noqa: N818 - beside Unavailable
    """etcd does not trust us, or we it: a person has to mend a certificate, a user or a role."""


class Compacted(EtcdError):  # noqa: N818 - etcd's word for it
    """The history asked for is gone; list anew. `revision` is the oldest kept, 0 if unknown."""

    def __init__(self, message: str, revision: int = 0) -> None:
        super().__init__(message)
        self.revision = revision


class LeaseNotFound(EtcdError):  # noqa: N818 - etcd's word for it
    """A key was to be put with a lease that has ended."""


class EndpointError(Exception):
    """One endpoint cannot serve us, another may; for the modules here among themselves.

    `applied`: it may have done what it was asked. `refused`: one side does not trust the other.
    """

    def __init__(self, reason: str, *, applied: bool, refused: bool = False) -> None:
        super().__init__(reason)
        self.applied = applied
        self.refused = refused


class StaleTokenError(Exception):
    """Our token has ended, or etcd wants one; nothing was done. As private as EndpointError."""


def shown(words: str) -> str:
    """What a server said, as it may stand in an error."""
    return ascii(words)[1:-1][:160]
