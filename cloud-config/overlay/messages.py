"""Changes as netlink messages, and netlink messages as kernel state (rtnetlink(7))."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6
from typing import Any, Protocol

# pyroute2 ships no types; what leaves this module is typed.
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ndmsg import ndmsg  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.rtmsg import rtmsg  # type: ignore[import-untyped]

from overlay.links import (
    PROTOCOL,
    Address,
    Device,
    Entry,
    Forward,
    Neighbour,
    Route,
    VxlanLink,
    WireguardLink,
)
from overlay.plan import AddDevice, Change, Put, Remove, RemoveDevice, SetDevice

# linux/netlink.h and linux/rtnetlink.h
_REQUEST, _ACK, _REPLACE, _EXCL, _CREATE = 0x1, 0x4, 0x100, 0x200, 0x400
_NEWLINK, _DELLINK, _NEWADDR = 16, 17, 20
_NEWROUTE, _DELROUTE, _NEWNEIGH = 24, 25, 28
_UP = 0x1  # IFF_UP
_AF_BRIDGE = 7
_MAIN_TABLE = 254
_UNICAST = 1  # RTN_UNICAST
_SCOPE_UNIVERSE, _SCOPE_LINK, _SCOPE_NOWHERE = 0, 253, 255
_KERNEL = 2  # RTPROT_KERNEL
_ONLINK = 0x4  # RTNH_F_ONLINK
_PERMANENT = 0x80  # NUD_PERMANENT
_SELF = 0x2  # NTF_SELF
_NODAD = 0x2  # IFA_F_NODAD


class Message(Protocol):
    """A message as pyroute2 decodes it: its fields, and by `get` its attributes."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - numbers and texts
        """A field."""

    def get(self, name: str) -> Any:  # noqa: ANN401
        """An attribute, None if there is none of the name."""


@dataclass(frozen=True, slots=True)
class Request:
    """A message but for its header's sequence number."""

    change: Change
    type: int
    flags: int
    message: Any

    def encode(self, sequence: int) -> bytes:
        """The message's bytes."""
        self.message["header"]["type"] = self.type
        self.message["header"]["flags"] = self.flags
        self.message["header"]["sequence_number"] = sequence
        self.message.encode()
        return bytes(self.message.data)


# --- Changes to messages --------------------------------------------------------------------------


def request(change: Change, index_of: Callable[[str], int]) -> Request:
    """The message of a change that is not WireGuard's alone.

    `index_of` gives a device's index, and raises what it likes if there is none.
    """
    if isinstance(change, AddDevice):
        message = _filled(ifinfmsg(), _up(change.device), _device(change.device))
        return Request(change, _NEWLINK, _REQUEST | _ACK | _CREATE | _EXCL, message)
    if isinstance(change, SetDevice):
        fields = {**_up(change.device), "index": index_of(change.device.name)}
        # Without the MAC: Linux forgets the neighbours even if it is given the same one again.
        message = _filled(ifinfmsg(), fields, (("IFLA_MTU", change.device.mtu),))
        return Request(change, _NEWLINK, _REQUEST | _ACK, message)
    if isinstance(change, RemoveDevice):
        message = _filled(ifinfmsg(), {"index": index_of(change.device.name)}, ())
        return Request(change, _DELLINK, _REQUEST | _ACK, message)
    put = isinstance(change, Put)
    new, message = _entry(change.entry, index_of(change.entry.device), put=put)
    if put:
        return Request(change, new, _REQUEST | _ACK | _CREATE | _REPLACE, message)
    return Request(change, new + 1, _REQUEST | _ACK, message)  # RTM_DEL... follows RTM_NEW...


_Attributes = Iterable[tuple[str, object]]


def _filled(message: Any, fields: Mapping[str, int], attributes: _Attributes) -> Any:  # noqa: ANN401
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [(name, value) for name, value in attributes if value is not None]
    return message


def _family(address: str) -> int:
    return int(AF_INET6 if ":" in address else AF_INET)


def _up(device: Device) -> dict[str, int]:
    return {"flags": _UP if device.up else 0, "change": _UP}


def _device(device: Device) -> _Attributes:
    """With its MAC from the first moment on: udev leaves one that was given alone."""
    yield "IFLA_IFNAME", device.name
    yield "IFLA_MTU", device.mtu
    yield "IFLA_ADDRESS", device.mac
    yield "IFLA_LINKINFO", {"attrs": _link_info(device)}


def _link_info(device: Device) -> list[tuple[str, object]]:
    link = device.link
    if isinstance(link, VxlanLink):
        local = "IFLA_VXLAN_LOCAL6" if ":" in link.local else "IFLA_VXLAN_LOCAL"
        data = [
            ("IFLA_VXLAN_ID", link.vni),
            ("IFLA_VXLAN_LINK", link.outer),
            (local, link.local),
            ("IFLA_VXLAN_LEARNING", int(link.learning)),
            ("IFLA_VXLAN_PORT", link.port),
        ]
        return [("IFLA_INFO_KIND", "vxlan"), ("IFLA_INFO_DATA", {"attrs": data})]
    return [("IFLA_INFO_KIND", "wireguard")]


def clearing(change: Put) -> Request | None:
    """What makes room for a route that Linux refuses: IPv6's with a gateway that is `onlink`.

    While the destination has a route over another device, even one that is to be replaced, that
    is where Linux looks for the gateway (ip6_route_check_nh_onlink).
    """
    route = change.entry
    if not isinstance(route, Route) or not route.onlink or ":" not in route.destination:
        return None
    anything = replace(route, gateway=None, protocol=0)
    return Request(Remove(route), _DELROUTE, _REQUEST | _ACK, _route(anything, None, put=False))


def _entry(entry: Entry, index: int, *, put: bool) -> tuple[int, Any]:
    """The type of the message that adds it, and the message."""
    if isinstance(entry, Address):
        return _NEWADDR, _address(entry, index)
    if isinstance(entry, Route):
        return _NEWROUTE, _route(entry, index, put=put)
    if isinstance(entry, Neighbour):
        fields = {"family": _family(entry.address), "state": _PERMANENT, "ndm_type": _UNICAST}
        attributes = (("NDA_DST", entry.address), ("NDA_LLADDR", entry.mac))
    elif isinstance(entry, Forward):
        fields = {"family": _AF_BRIDGE, "state": _PERMANENT, "flags": _SELF}
        attributes = (("NDA_DST", entry.remote), ("NDA_LLADDR", entry.mac))
    else:
        raise TypeError(f"{entry}: not of rtnetlink")
    return _NEWNEIGH, _filled(ndmsg(), {**fields, "ifindex": index}, attributes)


def _address(entry: Address, index: int) -> Any:  # noqa: ANN401
    ipv6 = ":" in entry.address
    fields = {
        "family": _family(entry.address),
        "prefixlen": entry.length,
        "index": index,
        # Nobody else has the subnet, which is what the lease is for.
        "flags": _NODAD if ipv6 else 0,
    }
    local = None if ipv6 else entry.address
    return _filled(ifaddrmsg(), fields, (("IFA_LOCAL", local), ("IFA_ADDRESS", entry.address)))


def _route(entry: Route, index: int | None, *, put: bool) -> Any:  # noqa: ANN401
    address, _, length = entry.destination.partition("/")
    scope = _SCOPE_UNIVERSE if entry.gateway or ":" in address else _SCOPE_LINK
    fields = {
        "family": _family(address),
        "dst_len": int(length),
        "table": _MAIN_TABLE,
        "proto": entry.protocol,
        # What is removed may have been made with any.
        "scope": scope if put else _SCOPE_NOWHERE,
        "type": _UNICAST if put else 0,
        "flags": _ONLINK if entry.onlink else 0,
    }
    attributes = (
        ("RTA_DST", address),
        ("RTA_GATEWAY", entry.gateway),
        ("RTA_OIF", index),
        ("RTA_PRIORITY", entry.metric or None),
    )
    return _filled(rtmsg(), fields, attributes)


# --- Messages to state ----------------------------------------------------------------------------


def read_device(message: Message) -> Device:
    """A device as the kernel tells it, WireGuard's without port and key, which others tell."""
    name, info = message.get("IFLA_IFNAME"), message.get("IFLA_LINKINFO")
    kind, data = (info.get("IFLA_INFO_KIND"), info.get("IFLA_INFO_DATA")) if info else (None, None)
    mtu, up = message.get("IFLA_MTU"), bool(message["flags"] & _UP)
    if kind == "wireguard":
        return Device(name, mtu, WireguardLink(0, ""), None, up)
    if kind != "vxlan" or data is None:
        return Device(name, mtu, None, None, up)
    link = VxlanLink(
        data.get("IFLA_VXLAN_ID"),
        data.get("IFLA_VXLAN_PORT"),
        data.get("IFLA_VXLAN_LOCAL") or data.get("IFLA_VXLAN_LOCAL6") or "",
        data.get("IFLA_VXLAN_LINK") or 0,
        bool(data.get("IFLA_VXLAN_LEARNING")),
    )
    return Device(name, mtu, link, message.get("IFLA_ADDRESS"), up)


def read_addresses(messages: Iterable[Message], names: Mapping[int, str]) -> Iterator[Address]:
    """The addresses of the devices named, without those that Linux gives each IPv6 interface."""
    for message in messages:
        name = names.get(message["index"])
        if name is not None and message["scope"] != _SCOPE_LINK:
            address = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
            yield Address(name, address, message["prefixlen"])


def read_routes(
    messages: Iterable[Message], ours: Mapping[int, str], names: Mapping[int, str]
) -> Iterator[Route]:
    """All routes on our devices but the kernel's own, and on others those of our protocol."""
    for message in messages:
        index, protocol = message.get("RTA_OIF"), message["proto"]
        main = message.get("RTA_TABLE") == _MAIN_TABLE and message["type"] == _UNICAST
        mine = protocol == PROTOCOL or (index in ours and protocol != _KERNEL)
        if not main or not mine or index not in names:
            continue
        ipv6 = message["family"] == AF_INET6
        destination = message.get("RTA_DST") or ("::" if ipv6 else "0.0.0.0")  # noqa: S104
        yield Route(
            names[index],
            f"{destination}/{message['dst_len']}",
            message.get("RTA_GATEWAY"),
            bool(message["flags"] & _ONLINK),
            message.get("RTA_PRIORITY") or 0,
            protocol,
        )


def read_neighbours(messages: Iterable[Message], names: Mapping[int, str]) -> Iterator[Neighbour]:
    """Permanent entries; others come and go by themselves."""
    for message in messages:
        name = names.get(message["ifindex"])
        if name is not None and message["state"] & _PERMANENT and message.get("NDA_LLADDR"):
            yield Neighbour(name, message.get("NDA_DST"), message.get("NDA_LLADDR"))


def read_forwards(messages: Iterable[Message], names: Mapping[int, str]) -> Iterator[Forward]:
    """The forwarding tables of the devices named."""
    for message in messages:
        name = names.get(message["ifindex"])
        if name is not None and message.get("NDA_DST") is not None:
            yield Forward(name, message.get("NDA_LLADDR"), message.get("NDA_DST"))
