"""Version 1 of cloud-init's network configuration, rewritten in the words of version 2.

Nodes are turned into nodes, so that what version 2 finds wrong is told at its place in version 1.
https://docs.cloud-init.io/en/latest/reference/network-config-format-v1.html
"""

from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum

from cloudconfig.model.network_kinds import CARD, Subnets, address_of, interface_of
from cloudconfig.model.network_v1_nodes import Draft, mapping, normal, several, text, unknown
from cloudconfig.model.network_v1_params import bond_parameters, bridge_parameters
from cloudconfig.model.network_v1_subnets import route, subnets
from hostkit.document.kinds import Choice
from hostkit.document.schema import Reading, Wrong, entries, is_null
from hostkit.document.source import Entry, Node, Place, Scalar, Sequence, shown
from hostkit.document.source import Mapping as MappingNode


class Item(Enum):
    """What an item of `config` is."""

    PHYSICAL = "physical"
    LOOPBACK = "loopback"
    BOND = "bond"
    BRIDGE = "bridge"
    VLAN = "vlan"
    NAMESERVER = "nameserver"
    ROUTE = "route"


# Where each stands in version 2.
_KINDS = {
    Item.PHYSICAL: "ethernets",
    Item.LOOPBACK: "ethernets",
    Item.BOND: "bonds",
    Item.BRIDGE: "bridges",
    Item.VLAN: "vlans",
}
_KEYS = {
    "mtu": "mtu",
    "accept_ra": "accept_ra",
    "mac_address": "macaddress",
}
_OWN_KEYS = {
    "ethernets": {"wakeonlan": "wakeonlan"},
    "bonds": {"bond_interfaces": "interfaces"},
    "bridges": {"bridge_interfaces": "interfaces"},
    "vlans": {"vlan_link": "link", "vlan_id": "id"},
}
_REQUIRED = {Item.VLAN: ("vlan_id", "vlan_link")}
_PARAMETERS = {"bonds": bond_parameters, "bridges": bridge_parameters}
_EVERYWHERE = 32
# An outline for editors; the words of version 2 are checked in full.
SCHEMA: dict[str, object] = {
    "type": "object",
    "required": ["version", "config"],
    "properties": {
        "version": {"enum": [1, "1"]},
        "renderer": {"const": "networkd"},
        "config": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"enum": [item.value for item in Item]},
                    "name": {"type": "string"},
                    "subnets": {"type": "array", "items": {"type": "object"}},
                },
            },
        },
    },
}


def as_version_2(node: Node, reading: Reading) -> MappingNode:
    """The same network in version 2; what is wrong in the words of version 1 is noted.

    Raises:
        Wrong: nothing of it can be understood.
    """
    rewriting = _Rewriting(reading)
    config, renderer = None, []
    for entry in entries(node, "a mapping", reading):
        if entry.key.text == "config":
            config = entry.value
        elif entry.key.text == "renderer":
            renderer = [entry]
        elif entry.key.text != "version":
            unknown(entry.key, ("version", "config", "renderer"), reading)
    if not isinstance(config, Sequence):
        raise reading.fail(config.place if config else node.place, "expected config, a list")
    before = len(reading.problems)
    for item in config.items:
        with suppress(Wrong):
            rewriting.item(item)
    if len(reading.problems) > before:
        raise Wrong
    return rewriting.finish(node.place, renderer)


@dataclass(slots=True)
class _Rewriting:
    """One pass over `config`; what is for no interface alone is kept until all are known."""

    reading: Reading
    drafts: dict[str, Draft] = field(default_factory=dict)
    nameservers: list[dict[str, Node]] = field(default_factory=list)
    routes: list[Node] = field(default_factory=list)
    everywhere: int = 0  # name servers and domains that every interface gets

    def item(self, node: Node) -> None:
        found = {normal(entry.key): entry for entry in entries(node, "a mapping", self.reading)}
        if "type" not in found:
            raise self.reading.fail(node.place, f"missing: type, {Choice(Item).label}")
        kind = Item(Choice(Item).read(found.pop("type").value, self.reading))
        if kind is Item.ROUTE:
            pairs = tuple(found.values())
            self.routes.append(route(MappingNode(node.place, pairs), self.reading))
        elif kind is Item.NAMESERVER:
            self._nameserver(node.place, found)
        else:
            self._device(kind, node.place, found)

    def _nameserver(self, place: Place, found: dict[str, Entry]) -> None:
        known = ("address", "search", "interface")
        for name, entry in found.items():
            if name not in known:
                unknown(entry.key, known, self.reading)
        if "address" not in found and "search" not in found:
            raise self.reading.fail(place, "missing: address, of name servers")
        self.nameservers.append({name: found[name].value for name in known if name in found})

    def _device(self, kind: Item, place: Place, found: dict[str, Entry]) -> None:
        if "name" not in found:
            raise self.reading.fail(place, "missing: name")
        name_node = found.pop("name").value
        name = CARD.read(name_node, self.reading)
        if name in self.drafts:
            raise self.reading.fail(name_node.place, f"the name {shown(name)} stands twice")
        draft = Draft(_KINDS[kind], name_node.place)
        missing = [key for key in _REQUIRED.get(kind, ()) if key not in found]
        if missing:
            raise self.reading.fail(place, f"missing: {', '.join(missing)}")
        known = _KEYS | _OWN_KEYS[draft.kind]
        for key, entry in found.items():
            with suppress(Wrong):
                self._key(draft, known, key, entry)
        if kind is Item.PHYSICAL and "macaddress" in draft.values:
            # Of a card, version 1 says which it is, not which address it gets.
            mac = draft.values.pop("macaddress").value
            draft.put("match", mac.place, mapping(mac.place, {"macaddress": mac}))
            draft.put("set_name", name_node.place, name)
        if kind is not Item.LOOPBACK or draft.addresses:
            self.drafts[name] = draft

    def _key(self, draft: Draft, known: dict[str, str], key: str, entry: Entry) -> None:
        if key == "subnets":
            subnets(entry.value, draft, self.reading)
        elif key == "params" and draft.kind in _PARAMETERS:
            _PARAMETERS[draft.kind](entry.value, draft, self.reading)
        elif key not in known:
            unknown(entry.key, (*known, "type", "name", "subnets"), self.reading)
        elif not is_null(entry.value):
            draft.put(known[key], entry.key.place, entry.value)

    def finish(self, place: Place, renderer: list[Entry]) -> MappingNode:
        before = len(self.reading.problems)
        for found in self.nameservers:
            with suppress(Wrong):
                self._spread(found)
        self._place_routes()
        if len(self.reading.problems) > before:
            raise Wrong
        kinds: dict[str, dict[str, Node]] = {}
        for name, draft in self.drafts.items():
            kinds.setdefault(draft.kind, {})[name] = draft.node()
        pairs = [Entry(text(place, kind), mapping(place, items)) for kind, items in kinds.items()]
        return MappingNode(place, (*renderer, *pairs))

    def _spread(self, found: dict[str, Node]) -> None:
        """Name servers are for their interface, else for every one that has addresses."""
        if "interface" in found:
            name = CARD.read(found["interface"], self.reading)
            if name not in self.drafts:
                message = f"no interface of the name {shown(name)} in this document"
                raise self.reading.fail(found["interface"].place, message)
            drafts = [self.drafts[name]]
        else:
            drafts = [draft for draft in self.drafts.values() if draft.reachable]
            self._check_few(found)
        for draft in drafts or self.drafts.values():
            draft.dns.extend(several(found["address"]) if "address" in found else ())
            draft.search.extend(several(found["search"]) if "search" in found else ())

    def _check_few(self, found: dict[str, Node]) -> None:
        """Every interface gets each of these: without a limit a document could be a bomb."""
        self.everywhere += sum(len(several(node)) for node in found.values())
        if self.everywhere > _EVERYWHERE:
            place = next(iter(found.values())).place
            message = f"more than {_EVERYWHERE} name servers and domains for all interfaces"
            raise self.reading.fail(place, message)

    def _place_routes(self) -> None:
        """A route belongs to the interface that has its router in one of its subnets."""
        subnets = Subnets()
        for name, draft in self.drafts.items():
            for address in draft.addresses:
                with suppress(ValueError):
                    subnets.add(interface_of(_text(address)).network, name)
        for node in self.routes:
            pairs = entries(node, "a mapping", self.reading)
            router = next(entry.value for entry in pairs if entry.key.text == "via")
            owner = None
            with suppress(ValueError):
                owner = subnets.owner(address_of(_text(router)))
            if owner is None:
                message = "the router is in no subnet here; give this route to a subnet's routes"
                self.reading.note(router.place, message)
            else:
                self.drafts[owner].routes.append(node)


def _text(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""
