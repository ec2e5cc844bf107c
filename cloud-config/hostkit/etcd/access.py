"""Where etcd is, who we are, and how long we wait for it."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Access:
    """Where etcd is and who we are.

    Args:
        endpoints: URLs of members of one cluster, such as https://10.0.0.1:2379.
        ca: PEM file of who signed the members' certificates; None is the host's own trust.
        certificate: PEM file of ours, if etcd wants client certificates; with `key`.
        key: PEM file.
        username: if etcd has users; with `password`.
        password: never logged, never in an error.
    """

    endpoints: tuple[str, ...]
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a client waits, and how much it takes.

    etcd itself gives up a request after 5 s and twice the election time-out, which is 1 s.
    """

    connect_seconds: float = 5
    call_seconds: float = 10  # on one endpoint, from the connection to the answer's last byte
    watch_gap_seconds: float = 300  # without a whole message, which ends a watch
    answer_bytes: int = 16 * 1024 * 1024  # of one answer, or of one message of a watch
    page_items: int = 2000  # of one answer to `list`
    list_items: int = 100_000  # of all of them
