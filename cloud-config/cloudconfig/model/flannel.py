# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""`coreos.flannel`: how the overlay network agrees with others."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from cloudconfig.kinds import BOOLEAN, ENDPOINTS, LINE, SECRET_LINE, Integer, between
from hostkit.document.kinds import Parsed, Text
from hostkit.document.schema import Section, key


@dataclass(frozen=True, slots=True)
class Flannel:
    """How the overlay agrees with others; see flannel's own options of these names."""

    etcd_endpoints: str | None = key(ENDPOINTS, "URLs of etcd, with commas.", default=None)
    etcd_cafile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "The CA of etcd.", default=None
    )
    etcd_certfile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Our certificate.", default=None
    )
    etcd_keyfile: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Its key.", default=None
    )
    etcd_prefix: str | None = key(LINE, "Where in etcd.", default=None)
    etcd_username: str | None = key(LINE, "Who we are.", default=None)
    etcd_password: str | None = key(SECRET_LINE, "And our word for it.", default=None)
    ip_masq: bool | None = key(BOOLEAN, "Masquerade what leaves the network.", default=None)
    subnet_file: PurePosixPath | None = key(
        Parsed("a path", PurePosixPath), "Where the lease is written.", default=None
    )
    interface: str | None = key(LINE, "The outer interface, or its address.", default=None)
    interface_regex: str | None = key(
        LINE, "Where `interface` is not given: fits its name or address.", default=None
    )
    public_ip: str | None = key(LINE, "The address that others reach us by.", default=None)
    public_ipv6: str | None = key(LINE, "And its like in IPv6.", default=None)
    subnet_lease_renew_margin: int | None = key(
        Integer(1, 1439),
        "Stop traffic when only so many minutes of the lease are left; an hour.",
        default=None,
    )
    subnet_ttl: float | None = key(
        between(5, 604800), "How long a lease lives after its last renewal; a day.", default=None
    )
    network_config: str | None = key(
        Text("text", limit=1 << 16),
        "The network's configuration, in flannel's JSON, for an etcd that has none yet.",
        default=None,
    )
    healthz_ip: str | None = key(
        LINE, "Where `/healthz` is served; the loopback address.", default=None
    )
    healthz_port: int | None = key(
        Integer(0, 65535), "The port of `/healthz`; without one there is none.", default=None
    )


def _flannel_problem(flannel: Flannel) -> str | None:
    if flannel.network_config is None:
        return None
    # Seldom there, and most hosts have no overlay.
    from overlay.network import NetworkConfigError, parse  # noqa: PLC0415

    try:
        parse(flannel.network_config.encode(), "network_config")
    except NetworkConfigError as error:
        return str(error)
    return None


FLANNEL = Section(Flannel, _flannel_problem)
