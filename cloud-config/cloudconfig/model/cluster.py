"""`bedplate.cluster`: the etcd in which hosts agree about pods."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudconfig.kinds import FILE, LINE, ORIGIN, ORIGINS, SECRET_LINE, Either
from hostkit.document.kinds import Parsed
from hostkit.document.schema import ListOf, Section, key

_TOGETHER = (("cert_file", "key_file"), ("username", "password"))
_OF_ETCD = ("ca_file", "cert_file", "key_file", "username", "password")


def _services_range(text: str) -> str:
    # It is much to import at every boot, for documents of which few have a cluster.
    from podagent.services.addresses import read_range  # noqa: PLC0415

    return str(read_range(text))


@dataclass(frozen=True, slots=True)
class Cluster:
    """The etcd in which hosts agree about pods; who can write to it says what hosts run."""

    endpoints: str | tuple[str, ...] | None = key(
        Either(scalar=ORIGINS, sequence=ListOf(ORIGIN)),
        "URLs of etcd. Without them this key and the next five are as in `coreos.flannel`.",
        default=None,
    )
    ca_file: str | None = key(
        FILE, "The CA of etcd; else those that the host trusts.", default=None
    )
    cert_file: str | None = key(FILE, "Our certificate.", default=None)
    key_file: str | None = key(FILE, "Its key.", default=None)
    username: str | None = key(LINE, "Who we are.", default=None)
    password: str | None = key(SECRET_LINE, "And our word for it.", default=None)
    services_range: str | None = key(
        Parsed(
            "a range of IPv4 addresses such as 10.96.0.0/16, of a prefix from /12 to /28",
            _services_range,
        ),
        "Where services get their addresses, the same on all hosts; else 10.96.0.0/16.",
        default=None,
    )


def _problems(cluster: Cluster) -> Iterator[str]:
    for one, other in _TOGETHER:
        if (getattr(cluster, one) is None) != (getattr(cluster, other) is None):
            yield f"{one} and {other} belong together"
    if not cluster.endpoints:
        for name in _OF_ETCD:
            if getattr(cluster, name) is not None:
                yield f"{name} without endpoints; without those all of etcd's are coreos.flannel's"


CLUSTER = Section(Cluster, lambda cluster: next(_problems(cluster), None))
