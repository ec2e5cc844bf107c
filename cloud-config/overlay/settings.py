"""What this host's agent is told: /etc/bedplate/overlay.json, which holds `coreos.flannel`."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from hostkit.etcd import Access
from hostkit.timing import Timing
from overlay.outer import Wish
from overlay.places import Places
from updater.errors import InputError
from updater.strict import unique_keys

_MAXIMUM_LENGTH = 64 * 1024
_DAY = 86400
_HOUR = 3600
T = TypeVar("T")


class SettingsError(InputError):
    """The settings are wrong; the message names the file and the key."""


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


@dataclass(frozen=True, slots=True)
class _Source:
    """The values as read, and the file they are from."""

    values: Mapping[str, object]
    path: Path

    def fail(self, key: str, expected: str) -> SettingsError:
        shown = "" if key == "etcd_password" else f", got {str(self.values.get(key))[:80]!r}"
        return SettingsError(f"{self.path}: {key}: expected {expected}{shown}")

    def take(self, key: str, read: Callable[[object], T], expected: str, default: T) -> T:
        """The value of `key`, read by a function that raises ValueError."""
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except (TypeError, ValueError, OverflowError):
            raise self.fail(key, expected) from None


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
    path = places.settings
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAXIMUM_LENGTH + 1)
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}; coreos.flannel in the cloud-config writes it"
        ) from error
    return parse(data, places)


def parse(data: bytes, places: Places) -> Settings:
    """Judge the settings' text; paths in it are the host's, below `places.root`.

    Raises:
        SettingsError: see `load`.
    """
    source = _Source(_document(data, places.settings), places.settings)
    return Settings(
        access=_access(source, places),
        prefix=source.take("etcd_prefix", _prefix, "a key such as /coreos.com/network", _PREFIX),
        timing=_timing(source),
        # CoreOS's unit passed --ip-masq=true, where flannel's own default is false: without it
        # no container reaches anything outside of the network.
        masquerade=source.take("ip_masq", _boolean, "true or false", default=True),
        subnet_file=places.on_host(
            source.take("subnet_file", _path, _A_PATH, PurePosixPath("/run/flannel/subnet.env"))
        ),
        outer=Wish(
            interface=source.take("interface", _text, "an interface's name, or its address", None),
            interface_regex=source.take("interface_regex", _regex, "a regular expression", None),
            public_ipv4=source.take("public_ip", _ipv4, "an IPv4 address", None),
            public_ipv6=source.take("public_ipv6", _ipv6, "an IPv6 address", None),
        ),
        healthz=_healthz(source),
        network_config=source.take("network_config", _network_config, "a JSON text", None),
    )


def _document(data: bytes, path: Path) -> Mapping[str, object]:
    if len(data) > _MAXIMUM_LENGTH:
        raise SettingsError(f"{path}: more than the {_MAXIMUM_LENGTH} bytes allowed")
    try:
        document = json.loads(data, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: no valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path}: expected an object, got {type(document).__name__}")
    for key in document:
        if key not in _KEYS:
            known = ", ".join(sorted(_KEYS))
            raise SettingsError(f"{path}: unknown key {key!r}; known are {known}")
    return document


def _access(source: _Source, places: Places) -> Access:
    for one, other in (("etcd_certfile", "etcd_keyfile"), ("etcd_username", "etcd_password")):
        if (one in source.values) != (other in source.values):
            raise SettingsError(f"{source.path}: {one} and {other} belong together")

    def path(key: str) -> Path | None:
        found = source.take(key, _path, _A_PATH, None)
        return None if found is None else places.on_host(found)

    return Access(
        endpoints=source.take(
            "etcd_endpoints", _endpoints, "http:// or https:// URLs, with commas", _ENDPOINTS
        ),
        ca=path("etcd_cafile"),
        certificate=path("etcd_certfile"),
        key=path("etcd_keyfile"),
        username=source.take("etcd_username", _text, "a name", None),
        password=source.take("etcd_password", _text, "a text", None),
    )


def _timing(source: _Source) -> Timing:
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


def _healthz(source: _Source) -> Healthz | None:
    """Off unless a port is given, as with flannel; but on the loopback where flannel takes all."""
    port = source.take("healthz_port", _whole(0, 65535), "a port, or 0 for none", 0)
    address = source.take("healthz_ip", _address, "an IP address", _address("127.0.0.1"))
    return Healthz(address, port) if port else None


# --- Values: each function raises ValueError or TypeError -----------------------------------------

_ENDPOINTS = ("http://127.0.0.1:2379",)
_PREFIX = "/coreos.com/network"
_A_PATH = "an absolute path"
_KEYS = frozenset(
    (
        *("etcd_endpoints", "etcd_prefix", "etcd_cafile", "etcd_certfile", "etcd_keyfile"),
        *("etcd_username", "etcd_password", "ip_masq", "subnet_file", "interface"),
        *("interface_regex", "public_ip", "public_ipv6", "subnet_lease_renew_margin"),
        *("subnet_ttl", "healthz_ip", "healthz_port", "network_config"),
    )
)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


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


def _path(value: object) -> PurePosixPath:
    path = PurePosixPath(_text(value))
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError
    return path


def _endpoints(value: object) -> tuple[str, ...]:
    # flannel takes blanks and a last comma; so do we.
    found = tuple(each.strip().rstrip("/") for each in _text(value).split(",") if each.strip())
    for each in found:
        parts = urlsplit(each)
        # Reading the port is what checks it. A password would end in logs: it has its own key.
        plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError
        if not plain:
            raise ValueError
    if not found:
        raise ValueError
    return found


def _prefix(value: object) -> str:
    prefix = _text(value).strip("/")
    if not prefix or any(part in {"", ".", ".."} for part in prefix.split("/")):
        raise ValueError
    return f"/{prefix}"


def _regex(value: object) -> str:
    text = _text(value)
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        raise ValueError(text) from None
    return text


def _address(value: object) -> IPv4Address | IPv6Address:
    return ip_address(_text(value))


def _ipv4(value: object) -> IPv4Address:
    return IPv4Address(_text(value))


def _ipv6(value: object) -> IPv6Address:
    return IPv6Address(_text(value))
