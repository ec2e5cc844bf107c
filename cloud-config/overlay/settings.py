"""What this host's agent is told: /etc/bedplate/overlay.json, which holds `coreos.flannel`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path, PurePosixPath

from hostkit.etcd import Access
from hostkit.settings import A_PATH, ETCD_KEYS, Source, as_path, as_text, etcd_access, read_settings
from hostkit.timing import Timing
from overlay.outer import Wish
from overlay.places import Places

_DAY = 86400
_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Healthz:
    """Where /healthz is served."""

    address: IPv4Address | IPv6Address
    port: int


@dataclass(frozen=True, slots=True)
class Settings:
    """The agent's settings; `network_config` is written to etcd where it has none yet."""

    access: Access
    prefix: str
    timing: Timing
    masquerade: bool
    subnet_file: Path
    outer: Wish
    healthz: Healthz | None
    network_config: bytes | None = None


Stamp = tuple[int, int, int]


def stamped(places: Places) -> Stamp | None:
    """What tells one file of settings from the one that takes its place; None: there is none."""
    try:
        found = places.settings.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def load(places: Places) -> Settings:
    """Read and judge the settings.

    Raises:
        SettingsError: unreadable, no JSON object, an unknown key, a wrong value.
    """
    return parse(read_settings(places.settings, "coreos.flannel"), places)


def parse(data: bytes, places: Places) -> Settings:
    """Judge the settings' text; paths in it are the host's, below `places.root`.

    Raises:
        SettingsError: see `load`.
    """
    source = Source.of(data, places.settings, _KEYS)
    return Settings(
        access=etcd_access(source, places.on_host),
        prefix=source.take("etcd_prefix", _prefix, "a key such as /coreos.com/network", _PREFIX),
        timing=_timing(source),
        # CoreOS's unit passed --ip-masq=true, where flannel's own default is false: without it
        # no container reaches anything outside of the network.
        masquerade=source.take("ip_masq", _boolean, "true or false", default=True),
        subnet_file=places.on_host(
            source.take("subnet_file", as_path, A_PATH, PurePosixPath("/run/flannel/subnet.env"))
        ),
        outer=Wish(
            interface=source.take(
                "interface", as_text, "an interface's name, or its address", None
            ),
            interface_regex=source.take("interface_regex", _regex, "a regular expression", None),
            public_ipv4=source.take("public_ip", _ipv4, "an IPv4 address", None),
            public_ipv6=source.take("public_ipv6", _ipv6, "an IPv6 address", None),
        ),
        healthz=_healthz(source),
        network_config=source.take("network_config", _network_config, "a JSON text", None),
    )


def _timing(source: Source) -> Timing:
    """The margin is in minutes, and by default an hour, as flannel's.

    What is renewed before the margin begins is never in danger; flannel goes on until the very
    end, and two hosts may have one subnet then. A lease too short for an hour has a quarter.
    """
    ttl = source.take("subnet_ttl", _whole(5, 7 * _DAY), "seconds, from 5 to 604800", _DAY)
    key, expected = "subnet_lease_renew_margin", "minutes, from 1 to 1439, less than subnet_ttl"
    minutes = source.take(key, _whole(1, 1439), expected, 0)
    if minutes * 60 >= ttl:
        raise source.fail(key, expected)
    return Timing(ttl, minutes * 60 or min(_HOUR, ttl // 4))


def _healthz(source: Source) -> Healthz | None:
    """Off unless a port is given, as with flannel; but on the loopback where flannel takes all."""
    port = source.take("healthz_port", _whole(0, 65535), "a port, or 0 for none", 0)
    address = source.take("healthz_ip", _address, "an IP address", _address("127.0.0.1"))
    return Healthz(address, port) if port else None


# --- Values: each function raises ValueError or TypeError -----------------------------------------

_PREFIX = "/coreos.com/network"
_KEYS = frozenset(
    (
        *ETCD_KEYS,
        *("etcd_prefix", "ip_masq", "subnet_file", "interface"),
        *("interface_regex", "public_ip", "public_ipv6", "subnet_lease_renew_margin"),
        *("subnet_ttl", "healthz_ip", "healthz_port", "network_config"),
    )
)


def _network_config(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError
    return value.encode()


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError
        if value != int(value) or not low <= value <= high:
            raise ValueError
        return int(value)

    return read


def _prefix(value: object) -> str:
    prefix = as_text(value).strip("/")
    if not prefix or any(part in {"", ".", ".."} for part in prefix.split("/")):
        raise ValueError
    return f"/{prefix}"


def _regex(value: object) -> str:
    text = as_text(value)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise ValueError(text) from None
    return text


def _address(value: object) -> IPv4Address | IPv6Address:
    return ip_address(as_text(value))


def _ipv4(value: object) -> IPv4Address:
    return IPv4Address(as_text(value))


def _ipv6(value: object) -> IPv6Address:
    return IPv6Address(as_text(value))
