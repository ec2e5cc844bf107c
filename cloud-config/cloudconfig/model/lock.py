"""The reboot lock as both sections mean it: whether there is one, and in which etcd."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cloudconfig.model.bedplate import Bedplate, Strategy
from cloudconfig.model.coreos import Coreos, RebootStrategy
from hostkit.document.schema import Fault

if TYPE_CHECKING:
    from cloudconfig.model.cluster import Cluster
    from cloudconfig.model.etcd import Etcd
    from cloudconfig.model.flannel import Flannel
    from cloudconfig.model.locksmith import Locksmith

Settings = dict[str, str]
# What reaches etcd, by the names that agents read (hostkit.settings).
ETCD = (
    *("etcd_endpoints", "etcd_cafile", "etcd_certfile", "etcd_keyfile"),
    *("etcd_username", "etcd_password"),
)
_OF_LOCK = ("group", "endpoint", *ETCD[1:])  # of coreos.locksmith


def lock_etcd(coreos: Coreos, bedplate: Bedplate) -> Settings | None:
    """How the lock's etcd is reached: locksmith's, else the cluster's, else the host's own.

    None where a document names no etcd that its host could ask.
    """
    for found in _ways(coreos, bedplate):
        if found.get(ETCD[0]):
            return found
    return None


def _ways(coreos: Coreos, bedplate: Bedplate) -> Iterator[Settings]:
    if coreos.locksmith:
        yield of_locksmith(coreos.locksmith)
    if bedplate.cluster:
        yield of_cluster(bedplate.cluster)
    if coreos.flannel:
        yield of_flannel(coreos.flannel)
    if bedplate.etcd:
        yield _of_member(bedplate.etcd)


def of_locksmith(locksmith: "Locksmith") -> Settings:
    """Etcd as `coreos.locksmith` says; there is none without an endpoint."""
    values = (
        *(locksmith.endpoint, locksmith.etcd_cafile),
        *(locksmith.etcd_certfile, locksmith.etcd_keyfile),
        *(locksmith.etcd_username, locksmith.etcd_password),
    )
    return _given(values)


def of_cluster(cluster: "Cluster") -> Settings:
    """Etcd as `bedplate.cluster` says itself."""
    endpoints = cluster.endpoints or ""
    values = (
        endpoints if isinstance(endpoints, str) else ",".join(endpoints),
        *(cluster.ca_file, cluster.cert_file, cluster.key_file),
        *(cluster.username, cluster.password),
    )
    return _given(values)


def of_flannel(flannel: "Flannel") -> Settings:
    """Etcd as `coreos.flannel` says."""
    paths = (flannel.etcd_cafile, flannel.etcd_certfile, flannel.etcd_keyfile)
    values = (
        flannel.etcd_endpoints,
        *(None if each is None else str(each) for each in paths),
        *(flannel.etcd_username, flannel.etcd_password),
    )
    return _given(values)


def _of_member(etcd: "Etcd") -> Settings:
    """Etcd on the host itself, where it wants no certificates."""
    from cloudconfig.model.etcd import member_of  # noqa: PLC0415 - as slow to import as its section

    listening = member_of(etcd, etcd.name or "").listen_clients
    for each in listening:
        if each.scheme == "http" and (each.local or each.everywhere):
            return {ETCD[0]: f"http://127.0.0.1:{each.port}"}
    return {}


def _given(values: tuple[str | None, ...]) -> Settings:
    return {name: value for name, value in zip(ETCD, values, strict=True) if value}


def takes_lock(coreos: Coreos, bedplate: Bedplate) -> bool:
    """Whether a staged release takes over with the lock held, by either section's words.

    `best-effort` means so where there is etcd to ask, as with locksmith.
    """
    if bedplate.update and bedplate.update.strategy is Strategy.ETCD_LOCK:
        return True
    strategy = coreos.update.reboot_strategy if coreos.update else None
    if strategy is RebootStrategy.BEST_EFFORT:
        return lock_etcd(coreos, bedplate) is not None
    return strategy is RebootStrategy.ETCD_LOCK


def cautions(coreos: Coreos, bedplate: Bedplate) -> Iterator[Fault]:
    """What is said of a lock that nobody takes."""
    if coreos.locksmith is None or takes_lock(coreos, bedplate):
        return
    for name in _OF_LOCK:
        if getattr(coreos.locksmith, name) is not None:
            message = f"{name} does nothing: no strategy here takes the lock;"
            way = "coreos.update.reboot-strategy: etcd-lock does"
            yield Fault(f"{message} {way}", ("coreos", "locksmith", name))


def missing_endpoints(cluster: "Cluster | None", flannel: "Flannel | None") -> Iterator[Fault]:
    """Why a cluster has no etcd: neither its own, nor the overlay's."""
    if cluster is None or cluster.endpoints or (flannel and flannel.etcd_endpoints):
        return
    message = "bedplate.cluster without endpoints, and coreos.flannel has no etcd_endpoints"
    yield Fault(f"{message} to share", ("bedplate", "cluster"))


def missing_etcd(coreos: Coreos, bedplate: Bedplate) -> Iterator[Fault]:
    """Why the lock that a document asks for cannot be taken."""
    if not takes_lock(coreos, bedplate) or lock_etcd(coreos, bedplate):
        return
    ours = bedplate.update and bedplate.update.strategy is Strategy.ETCD_LOCK
    yield Fault(
        "the strategy etcd-lock needs etcd: give coreos.locksmith.endpoint, or the endpoints of"
        " bedplate.cluster or coreos.flannel, which the lock shares; or use reboot, with a window"
        " or with the waves of the channel, so that not all hosts reboot at once",
        ("bedplate", "update", "strategy") if ours else ("coreos", "update", "reboot_strategy"),
    )
