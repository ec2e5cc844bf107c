# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`bedplate.etcd`: this host as a member of an etcd cluster, in the words of etcd's options."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from cloudconfig.kinds import BOOLEAN, FILE, Either, Integer, between
from cloudconfig.model.endpoints import LISTENING, REACHED, Endpoint, Endpoints, reached
from hostkit.document.kinds import Choice, Parsed, Size, Text
from hostkit.document.schema import Fault, MapOf, Section, key

_NAME = Text("a member's name such as etcd-1", r"[A-Za-z0-9][A-Za-z0-9._\-]{0,127}")
_OWN_CLIENTS = (Endpoint("http", "127.0.0.1", 2379),)
_OWN_PEERS = (Endpoint("http", "127.0.0.1", 2380),)

Members = Mapping[str, Endpoints]


class ClusterState(Enum):
    """Whether a member without data begins a cluster or joins one."""

    NEW = "new"
    EXISTING = "existing"


def _members(text: str) -> Members:
    """A cluster in etcd's own words, a name before each URL.

    Raises:
        ValueError: it is none.
    """
    found: dict[str, Endpoints] = {}
    for word in text.split(","):
        name, _, url = word.strip().partition("=")
        if not _NAME.matches(name):
            raise ValueError(text)
        found[name] = (*found.get(name, ()), reached(url))
    if _members_problem(found):
        raise ValueError(text)
    return found


def _members_problem(members: Members) -> str | None:
    owners: dict[Endpoint, str] = {}
    for name, urls in members.items():
        if not urls:
            return f"{name} has no URL"
        for url in urls:
            if url in owners:
                return f"{url} stands there twice, for {owners[url]} and for {name}"
            owners[url] = name
    return None


@dataclass(frozen=True, slots=True)
class Etcd:
    """This host as a member of an etcd cluster; the system extension `etcd` brings the program."""

    name: str | None = key(_NAME, "Its name in the cluster; else the host's.", default=None)
    initial_cluster: Members = key(
        Either(
            scalar=Parsed(
                "names and URLs, none twice, such as a=http://10.0.0.1:2380,b=http://10.0.0.2:2380",
                _members,
            ),
            mapping=MapOf(_NAME.pattern, REACHED, _members_problem),
        ),
        "All members that begin the cluster, this one too: where the others reach each, by name."
        " Without it the cluster is this host alone. A member that has data looks no more at it.",
        default={},
    )
    initial_cluster_state: ClusterState = key(
        Choice(ClusterState),
        "Whether a member without data begins the cluster or joins one that runs.",
        default=ClusterState.NEW,
    )
    initial_cluster_token: str | None = key(
        Text("a word", r"[A-Za-z0-9._:\-]{1,128}"),
        "What tells this cluster from others of the same names and URLs.",
        default=None,
    )
    listen_peer_urls: Endpoints = key(
        LISTENING, "Where it listens for other members; else where they reach it.", default=()
    )
    initial_advertise_peer_urls: Endpoints = key(
        REACHED, "Where other members reach it; else as `initial_cluster` says.", default=()
    )
    listen_client_urls: Endpoints = key(
        LISTENING, "Where it listens for clients; else for those on this host alone.", default=()
    )
    advertise_client_urls: Endpoints = key(
        REACHED, "Where clients are told to go; else where it listens for them.", default=()
    )
    cert_file: str | None = key(FILE, "What clients see who we are by.", default=None)
    key_file: str | None = key(FILE, "Its key.", default=None)
    trusted_ca_file: str | None = key(
        FILE, "With it, clients have to show a certificate of this authority.", default=None
    )
    client_cert_auth: bool | None = key(
        BOOLEAN, "Needs no saying: `trusted_ca_file` says so.", default=None
    )
    peer_cert_file: str | None = key(FILE, "What members see who we are by.", default=None)
    peer_key_file: str | None = key(FILE, "Its key.", default=None)
    peer_trusted_ca_file: str | None = key(
        FILE, "With it, members have to show a certificate of this authority.", default=None
    )
    peer_client_cert_auth: bool | None = key(
        BOOLEAN, "Needs no saying: `peer_trusted_ca_file` says so.", default=None
    )
    heartbeat_interval: int = key(
        Integer(10, 10000),
        "Milliseconds between two signs of life of a leader.",
        default=100,
    )
    election_timeout: int = key(
        Integer(50, 50000), "Milliseconds without one until another leads.", default=1000
    )
    auto_compaction_retention: float = key(
        # A plain number, which to etcd are hours, is too low for seconds.
        between(300, 31 * 86400),
        "How long old revisions are kept.",
        default=3600.0,
    )
    quota_backend_bytes: int | None = key(
        Size(), "How large the data may become; else 2 GiB, as etcd has it.", default=None
    )


@dataclass(frozen=True, slots=True)
class Member:
    """What etcd is told of addresses, with nothing left to be filled in."""

    name: str
    cluster: Members
    listen_peers: Endpoints
    advertise_peers: Endpoints
    listen_clients: Endpoints
    advertise_clients: Endpoints


def member_of(etcd: Etcd, name: str) -> Member:
    """The member `name` of what a document says."""
    peers = (
        etcd.initial_advertise_peer_urls
        or etcd.initial_cluster.get(name, ())
        or _reachable(etcd.listen_peer_urls or _OWN_PEERS)
    )
    clients = etcd.listen_client_urls or _OWN_CLIENTS
    return Member(
        name=name,
        cluster=etcd.initial_cluster or {name: peers},
        listen_peers=etcd.listen_peer_urls or peers,
        advertise_peers=peers,
        listen_clients=clients,
        advertise_clients=etcd.advertise_client_urls or _reachable(clients),
    )


def _reachable(urls: Endpoints) -> Endpoints:
    """Those to tell others; what only this host reaches if there is nothing else."""
    told = tuple(url for url in urls if not url.everywhere)
    return tuple(url for url in told if not url.local) or told


def problem_of(etcd: Etcd, name: str | None) -> str | None:
    """What etcd would refuse, or None; `name` is None where the host's is not known."""
    if found := next(_file_problems(etcd), None) or next(_plain_problems(etcd), None):
        return found
    if name is None:
        return None
    return next(_member_problems(etcd, member_of(etcd, name)), None)


def _plain_problems(etcd: Etcd) -> Iterator[str]:
    if etcd.initial_cluster_state is ClusterState.EXISTING and not etcd.initial_cluster:
        yield "initial_cluster_state: existing needs initial_cluster, with all members"
    if etcd.election_timeout < 5 * etcd.heartbeat_interval:
        yield "election_timeout is to be five times heartbeat_interval at least"
    for given, listening in (
        ("advertise_client_urls", etcd.listen_client_urls),
        ("initial_advertise_peer_urls", () if etcd.initial_cluster else etcd.listen_peer_urls),
    ):
        if listening and not getattr(etcd, given) and not _reachable(listening):
            yield f"{listening[0]} is no address to tell others; give {given} too"


def _file_problems(etcd: Etcd) -> Iterator[str]:
    for peer in ("", "peer_"):
        certificate, own_key, authority, asked = (
            getattr(etcd, f"{peer}{name}")
            for name in ("cert_file", "key_file", "trusted_ca_file", "client_cert_auth")
        )
        if (certificate is None) != (own_key is None):
            yield f"{peer}cert_file and {peer}key_file belong together"
        if authority and not certificate:
            yield f"{peer}trusted_ca_file needs {peer}cert_file: over http nobody is asked"
        if asked is not None and asked != bool(authority):
            yield (
                f"{peer}client_cert_auth: {str(asked).lower()} beside"
                f" {'a' if authority else 'no'} {peer}trusted_ca_file; certificates are asked for"
                " where there is one"
            )


def _member_problems(etcd: Etcd, member: Member) -> Iterator[str]:
    own = member.cluster.get(member.name)
    if own is None:
        known = ", ".join(member.cluster)
        yield f"initial_cluster has no member {member.name}, which is this one; it has {known}"
    elif set(own) != set(member.advertise_peers):
        yield (
            f"initial_advertise_peer_urls and initial_cluster say differently where {member.name}"
            " is reached"
        )
    for url in member.listen_peers:
        if not url.bindable:
            yield f"listen_peer_urls is needed: {url} has a name, and etcd listens on addresses"
    if shared := set(member.listen_peers) & set(member.listen_clients):
        yield f"{shared.pop()} is for clients and for members; each needs a port of its own"
    for peer, urls in (("", member.listen_clients), ("peer_", member.listen_peers)):
        if getattr(etcd, f"{peer}cert_file") is None and _with(urls, "https"):
            yield f"{_with(urls, 'https')[0]} needs {peer}cert_file and {peer}key_file"


def cautions(etcd: Etcd) -> Iterator[Fault]:
    """What etcd takes, but should not be left so without knowing."""
    members = [url for urls in etcd.initial_cluster.values() for url in urls]
    peers = [*etcd.listen_peer_urls, *members]
    for peer, urls, whom in (("", etcd.listen_client_urls, "client"), ("peer_", peers, "member")):
        outside = [url for url in urls if not url.local]
        if plain := _with(outside, "http"):
            yield Fault(
                f"{plain[0]} is http: whoever reaches it reads and changes all that this cluster"
                f" holds; use https with {peer}cert_file, {peer}key_file and"
                f" {peer}trusted_ca_file, or a network of its own"
            )
        if (secure := _with(outside, "https")) and not getattr(etcd, f"{peer}trusted_ca_file"):
            yield Fault(f"{secure[0]} takes anybody for a {whom} without {peer}trusted_ca_file")


def _with(urls: Iterable[Endpoint], scheme: str) -> list[Endpoint]:
    return [url for url in urls if url.scheme == scheme]


_FIXED = "it is /var/lib/etcd"
_STATIC = "name the members in initial_cluster"
ETCD = Section(
    Etcd,
    lambda etcd: problem_of(etcd, etcd.name),
    cautions=cautions,
    refused={
        **dict.fromkeys(("data_dir", "wal_dir"), _FIXED),
        **dict.fromkeys(("discovery", "discovery_srv", "discovery_fallback"), _STATIC),
        "ca_file": "etcd 3 calls it trusted_ca_file",
        "peer_ca_file": "etcd 3 calls it peer_trusted_ca_file",
        "proxy": "clients take several URLs; a member of each host's own is not needed",
        "auto_compaction_mode": "it is periodic; auto_compaction_retention says how long",
        "force_new_cluster": "restore a snapshot instead (etcdutl snapshot restore)",
    },
)
