"""OpenStack's network_data.json in the words of network-config, version 2.

Its schema is in OpenStack Nova's documentation, "Metadata", network_data.json.
"""

import re
from typing import Any

from cloudconfig.sources import values

_MAC = re.compile(r"([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}")
# The kernel's bonding modes, by number and by name (Documentation/networking/bonding).
_BOND_MODES = (
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
)
_HASH_POLICIES = ("layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4")
_DHCP = {
    "ipv4_dhcp": {"dhcp4": True},
    "ipv6_dhcp": {"dhcp6": True},
    "ipv6_slaac": {"accept-ra": True},
    "ipv6_dhcpv6-stateful": {"dhcp6": True},
    "ipv6_dhcpv6-stateless": {"accept-ra": True},
}
_LIMIT = 256  # links, networks, routes of one and services, each


def translate(data: bytes, warnings: list[str]) -> bytes | None:
    """A network-config of version 2 as JSON, or None if no link of the data can be used.

    What cannot be used is left out, with a line in `warnings`.

    Raises:
        SourceError: it is no JSON.
    """
    import json  # noqa: PLC0415 - as in `values`

    given = values.json_object(data, "network_data.json")
    made = _Translation(given, warnings).made()
    return json.dumps(made, indent=1).encode() if made else None


class _WrongError(Exception):
    """One link or network cannot be used; the message is the end of a warning."""


class _Translation:
    def __init__(self, given: dict[str, Any], warnings: list[str]) -> None:
        self._given = given
        self._warnings = warnings
        self._named: dict[str, tuple[str, dict[str, Any]]] = {}  # by OpenStack's id of the link
        self._devices: dict[str, dict[str, Any]] = {"ethernets": {}, "bonds": {}, "vlans": {}}
        self._owners: dict[str, str] = {}  # of addresses, and of cards by bonds

    def made(self) -> dict[str, Any] | None:
        links = _mappings(self._given.get("links"))
        # Those that others stand on come first: cards, then bonds of them, then VLANs on either.
        for kind in (self._ethernet, self._bond, self._vlan):
            for link in links:
                self._try(kind, link, "link")
        servers = _servers(self._given.get("services"))
        for network in _mappings(self._given.get("networks")):
            self._try(self._network, network, "network")
        for _, device in self._named.values():
            if servers and any(key in device for key in ("addresses", "dhcp4", "dhcp6")):
                _add_servers(device, servers)
        devices = {kind: named for kind, named in self._devices.items() if named}
        return {"version": 2, **devices} if devices else None

    def _try(self, translate_one: Any, what: dict[str, Any], called: str) -> None:  # noqa: ANN401
        try:
            translate_one(what)
        except _WrongError as error:
            name = ascii(what.get("id"))[:40]
            self._warnings.append(f"network_data.json: the {called} {name} is not used: {error}")

    def _add(self, kind: str, name: str, link: dict[str, Any], device: dict[str, Any]) -> None:
        identity = link.get("id")
        if not isinstance(identity, str) or identity in self._named:
            raise _WrongError("expected an id of its own")
        mtu = _whole(link.get("mtu"), 68, 65535)
        if mtu is not None:
            device["mtu"] = mtu
        self._devices[kind][name] = device
        self._named[identity] = name, device

    def _ethernet(self, link: dict[str, Any]) -> None:
        """All other types name what the host's end is called, which is a card here."""
        if link.get("type") in ("bond", "vlan"):
            return
        name = f"port{len(self._devices['ethernets'])}"
        device = {"match": {"macaddress": _mac(link.get("ethernet_mac_address"))}}
        if any(device["match"] == other["match"] for other in self._devices["ethernets"].values()):
            raise _WrongError("another one has its Ethernet address")
        self._add("ethernets", name, link, device)

    def _bond(self, link: dict[str, Any]) -> None:
        if link.get("type") != "bond":
            return
        members = link.get("bond_links")
        known = [self._link(member) for member in members] if isinstance(members, list) else []
        if not known:
            raise _WrongError("it has no links")
        free = self._devices["ethernets"].keys() - self._owners.keys()
        if not free.issuperset(known):
            raise _WrongError("one of its links is another bond's, or no card")
        parameters: dict[str, Any] = {"mode": _bond_mode(link.get("bond_mode"))}
        policy = link.get("bond_xmit_hash_policy")
        if policy in _HASH_POLICIES:
            parameters["transmit-hash-policy"] = policy
        interval = _whole(link.get("bond_miimon"), 1, 60_000)
        if interval is not None:
            parameters["mii-monitor-interval"] = interval
        device: dict[str, Any] = {"interfaces": known, "parameters": parameters}
        if link.get("ethernet_mac_address") is not None:
            device["macaddress"] = _mac(link["ethernet_mac_address"])
        name = f"bond{len(self._devices['bonds'])}"
        self._add("bonds", name, link, device)
        self._owners.update(dict.fromkeys(known, name))

    def _vlan(self, link: dict[str, Any]) -> None:
        if link.get("type") != "vlan":
            return
        identity = _whole(link.get("vlan_id"), 1, 4094)
        if identity is None:
            raise _WrongError("expected a vlan_id from 1 to 4094")
        device: dict[str, Any] = {"id": identity, "link": self._link(link.get("vlan_link"))}
        if any(device.items() <= other.items() for other in self._devices["vlans"].values()):
            raise _WrongError("another one is the same VLAN of the same link")
        if link.get("vlan_mac_address") is not None:
            device["macaddress"] = _mac(link["vlan_mac_address"])
        name = f"vlan{identity}"
        if name in self._devices["vlans"]:
            name = f"vlan{identity}-{len(self._devices['vlans'])}"
        self._add("vlans", name, link, device)

    def _link(self, identity: object) -> str:
        if not isinstance(identity, str) or identity not in self._named:
            raise _WrongError(f"there is no link {ascii(identity)[:40]}")
        return self._named[identity][0]

    def _network(self, network: dict[str, Any]) -> None:
        self._link(network.get("link"))
        name, device = self._named[network["link"]]
        kind = network.get("type")
        if isinstance(kind, str) and kind in _DHCP:
            device.update(_DHCP[kind])
        elif kind in ("ipv4", "ipv6"):
            version = 4 if kind == "ipv4" else 6
            address = _address(network, version)
            routes = list(_routes(network, version, address))
            self._claim(address, name)
            device.setdefault("addresses", []).append(address)
            if routes:
                device.setdefault("routes", []).extend(routes)
        else:
            raise _WrongError(f"the type {ascii(kind)[:40]} is not known")
        _add_servers(device, _servers(network.get("services")))

    def _claim(self, address: str, name: str) -> None:
        """An address is one device's, but for those that each link has for itself."""
        import ipaddress  # noqa: PLC0415 - as in `values`

        interface = ipaddress.ip_interface(address)
        if interface.is_link_local:
            return
        if self._owners.setdefault(str(interface.ip), name) != name:
            raise _WrongError("another link has its address")


def _mappings(value: object) -> list[dict[str, Any]]:
    items = value[:_LIMIT] if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict)]


def _whole(value: object, low: int, high: int) -> int | None:
    """A number, also as text, if it is between the two."""
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,6}", str(value), re.ASCII):
        return None
    return int(str(value)) if low <= int(str(value)) <= high else None


def _mac(value: object) -> str:
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise _WrongError(f"{ascii(value)[:40]} is no Ethernet address")
    return value.lower().replace("-", ":")


def _bond_mode(value: object) -> str:
    if value in _BOND_MODES:
        return str(value)
    number = _whole(value, 0, len(_BOND_MODES) - 1)
    if number is not None:
        return _BOND_MODES[number]
    raise _WrongError(f"the bond_mode {ascii(value)[:40]} is not known")


def _servers(services: object) -> list[str]:
    return [
        service["address"]
        for service in _mappings(services)
        if service.get("type") == "dns"
        and any(values.is_address(service.get("address"), version) for version in (4, 6))
    ]


def _add_servers(device: dict[str, Any], servers: list[str]) -> None:
    if servers:
        known = device.setdefault("nameservers", {"addresses": []})["addresses"]
        known += [server for server in servers if server not in known]


def _prefix(mask: object, version: int) -> int:
    """The length of a prefix from 255.255.0.0, ffff:ffff::, "64" or 64."""
    import ipaddress  # noqa: PLC0415 - as in `values`

    bits = 32 if version == 4 else 128
    if values.is_address(mask, version):
        number = int(ipaddress.ip_address(str(mask)))
        length = number.bit_count()
        if number == ((1 << length) - 1) << (bits - length):
            return length
    given = _whole(mask, 0, bits)
    if given is not None:
        return given
    raise _WrongError(f"{ascii(mask)[:40]} is no netmask")


def _address(network: dict[str, Any], version: int) -> str:
    given = network.get("ip_address")
    address, slash, length = given.partition("/") if isinstance(given, str) else ("", "", "")
    if not values.is_address(address, version):
        raise _WrongError(f"{ascii(given)[:40]} is no IPv{version} address")
    mask = length if slash else network.get("netmask")
    return f"{address}/{_prefix(mask, version)}"


def _routes(network: dict[str, Any], version: int, address: str) -> list[dict[str, Any]]:
    import ipaddress  # noqa: PLC0415 - as in `values`

    routes = _mappings(network.get("routes"))
    anywhere = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - a destination
    if network.get("gateway") is not None:
        routes.append({"network": anywhere, "netmask": 0, "gateway": network["gateway"]})
    made = []
    for route in routes:
        to, via = route.get("network"), route.get("gateway")
        if not (values.is_address(to, version) and values.is_address(via, version)):
            raise _WrongError("one of its routes has no network or no gateway")
        one: dict[str, Any] = {"to": f"{to}/{_prefix(route.get('netmask'), version)}", "via": via}
        reachable = ipaddress.ip_interface(address).network
        # A gateway may be outside of the subnet, as those of hosts with a /32 are.
        if version == 4 and ipaddress.ip_address(str(via)) not in reachable:
            one["on-link"] = True
        if one not in made:
            made.append(one)
    return made
