"""Leases as flannel keeps them in etcd: which subnets a host has, and how its peers reach it.

Source of every rule: flannel's `pkg/subnet/subnet.go` (the key) and `pkg/lease/lease.go` (the
value). What comes from etcd was written by others and may be anything: a broken lease is told of
and left out, and its subnet counts as taken all the same.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from overlay.document import named, read_object
from updater.errors import BedplateError

_KEY = re.compile(r"([0-9.]{7,15})-([0-9]{1,2})(?:&([0-9a-f:]{2,39})-([0-9]{1,3}))?", re.ASCII)
_NO_IPV4 = "0.0.0.0-0"
AddressT = TypeVar("AddressT", IPv4Address, IPv6Address)
_LONGEST_VALUE = 16 * 1024
_VALUE_KEYS = ("PublicIP", "PublicIPv6", "BackendType", "BackendData", "BackendV6Data")
_BACKEND = re.compile(r"[!-~]{0,64}", re.ASCII)


class LeaseError(BedplateError):
    """A key or value below `<prefix>/subnets/` is no lease; the message says why."""


class BackendType(StrEnum):
    """How hosts reach each other's containers; peers may have types that are not among these."""

    VXLAN = "vxlan"
    HOST_GW = "host-gw"
    WIREGUARD = "wireguard"


@dataclass(frozen=True, slots=True)
class Subnets:
    """A host's part of the network, one subnet a family."""

    ipv4: IPv4Network | None = None
    ipv6: IPv6Network | None = None

    def __str__(self) -> str:
        """The last part of the key: `10.5.52.0-24`, `10.5.52.0-24&fd00:5:52::-64`.

        Without IPv4 flannel writes the empty network in its place: `0.0.0.0-0&fd00:5:52::-64`.
        """
        text = _part(self.ipv4) if self.ipv4 else _NO_IPV4
        return f"{text}&{_part(self.ipv6)}" if self.ipv6 else text

    def overlaps(self, other: "Subnets") -> bool:
        """Whether any address is in both."""
        return bool(
            (self.ipv4 and other.ipv4 and self.ipv4.overlaps(other.ipv4))
            or (self.ipv6 and other.ipv6 and self.ipv6.overlaps(other.ipv6))
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """A lease's value: where the host is, and what its peers' backends must know."""

    public_ipv4: IPv4Address | None = None
    public_ipv6: IPv6Address | None = None
    backend: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    data_v6: Mapping[str, object] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The value as flannel writes it: what is empty is left out, but for a null PublicIPv6."""
        value: dict[str, object] = {
            "PublicIP": str(self.public_ipv4 or IPv4Address(0)),
            "PublicIPv6": str(self.public_ipv6) if self.public_ipv6 else None,
        }
        if self.backend:
            value["BackendType"] = self.backend
        if self.data:
            value["BackendData"] = dict(self.data)
        if self.data_v6:
            value["BackendV6Data"] = dict(self.data_v6)
        return json.dumps(value, separators=(",", ":")).encode()

    def same_host(self, other: "Terms") -> bool:
        """Whether both are one host's: by PublicIP, and by PublicIPv6 where there is no other."""
        if self.public_ipv4 or other.public_ipv4:
            return self.public_ipv4 == other.public_ipv4
        return self.public_ipv6 is not None and self.public_ipv6 == other.public_ipv6


@dataclass(frozen=True, slots=True)
class Lease:
    """What etcd holds for a host; `lease` is etcd's id, 0 for a reservation, which never ends."""

    subnets: Subnets
    terms: Terms
    lease: int
    revision: int

    @property
    def reservation(self) -> bool:
        """Whether an operator keeps these subnets for the host for ever."""
        return self.lease == 0


@dataclass(frozen=True, slots=True)
class Broken:
    """A key below `<prefix>/subnets/` that is no lease; its subnets are taken all the same."""

    key: str
    reason: str
    subnets: Subnets | None


@dataclass(frozen=True, slots=True)
class Leases:
    """Everything below `<prefix>/subnets/` at one revision of etcd."""

    revision: int = 0
    leases: tuple[Lease, ...] = ()
    broken: tuple[Broken, ...] = ()

    def taken(self) -> Iterator[Subnets]:
        """All subnets that nobody else may take."""
        yield from (lease.subnets for lease in self.leases)
        yield from (each.subnets for each in self.broken if each.subnets)


def parse_subnets(key: str) -> Subnets:
    """The subnets that the last part of a key names.

    Raises:
        LeaseError: it names none, or is not written as flannel writes it.
    """
    match = _KEY.fullmatch(key)
    if not match:
        raise LeaseError(f"{key[:80]!r} names no subnets; expected such as 10.5.52.0-24")
    address, length, address_v6, length_v6 = match.groups()
    try:
        subnets = Subnets(
            IPv4Network((address, int(length))) if f"{address}-{length}" != _NO_IPV4 else None,
            IPv6Network((address_v6, int(length_v6))) if address_v6 else None,
        )
    except ValueError as error:
        raise LeaseError(f"{key!r} names no subnets: {error}") from None
    if not (subnets.ipv4 or subnets.ipv6):
        raise LeaseError(f"{key!r} names no subnets")
    # Two spellings of one subnet would be two keys, and nothing would keep two hosts apart.
    if str(subnets) != key:
        raise LeaseError(f"{key!r} must be written {str(subnets)!r}")
    return subnets


def parse_terms(value: bytes) -> Terms:
    """A lease's value.

    Raises:
        LeaseError: it is not what flannel writes; the message names the key.
    """
    try:
        values = named(read_object(value, _LONGEST_VALUE), _VALUE_KEYS)
        ipv4 = _address(values, "PublicIP", IPv4Address)
        ipv6 = _address(values, "PublicIPv6", IPv6Address)
    except ValueError as error:
        raise LeaseError(str(error)) from None
    if ipv4 is None and ipv6 is None:
        raise LeaseError("it has neither PublicIP nor PublicIPv6")
    backend = values.get("BackendType", "")
    if not isinstance(backend, str) or not _BACKEND.fullmatch(backend):
        raise LeaseError(f"BackendType: expected a short name, got {backend!r:.80}")
    return Terms(ipv4, ipv6, backend, _data(values, "BackendData"), _data(values, "BackendV6Data"))


def read_lease(key: str, value: bytes, lease: int, revision: int) -> Lease | Broken:
    """One item below `<prefix>/subnets/`; `key` is its last part, `lease` etcd's id."""
    try:
        subnets = parse_subnets(key)
    except LeaseError as error:
        return Broken(key, str(error), _loosely(key))
    try:
        return Lease(subnets, parse_terms(value), lease, revision)
    except LeaseError as error:
        return Broken(key, f"{key}: {error}", subnets)


def _loosely(key: str) -> Subnets | None:
    """What flannel may take a wrong key to mean, which nobody else should be given."""
    match = _KEY.fullmatch(key.lower())
    if not match:
        return None
    address, length, address_v6, length_v6 = match.groups()
    try:
        ipv4 = IPv4Network(f"{address}/{int(length)}", strict=False)
        ipv6 = IPv6Network(f"{address_v6}/{length_v6}", strict=False) if address_v6 else None
    except ValueError:
        return None
    return Subnets(ipv4, ipv6) if ipv4.prefixlen else None


def _part(network: IPv4Network | IPv6Network) -> str:
    return f"{network.network_address}-{network.prefixlen}"


def _address(values: Mapping[str, object], name: str, kind: type[AddressT]) -> AddressT | None:
    """A host's address; None when there is none, which flannel writes as 0.0.0.0 for IPv4."""
    value = values.get(name)
    if value is None:
        return None
    try:
        address = kind(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None or address.is_multicast or address.is_loopback:
        raise ValueError(f"{name}: expected a host's address, got {value!r:.80}")
    return None if address.is_unspecified else address


def _data(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    """What a backend needs; null is nothing."""
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise LeaseError(f"{name}: expected an object, got {value!r:.80}")
    return value
