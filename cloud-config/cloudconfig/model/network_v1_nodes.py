"""Nodes that are made of other nodes, each still at its place in the document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hostkit.document.schema import Reading, is_null, nearest
from hostkit.document.source import Entry, Node, Place, Scalar, ScalarKind, Sequence, shown
from hostkit.document.source import Mapping as MappingNode

Items = list[Node]


@dataclass(slots=True)
class Draft:
    """An interface of version 2 that is being put together."""

    kind: str
    place: Place
    values: dict[str, Entry] = field(default_factory=dict)
    addresses: Items = field(default_factory=list)
    routes: Items = field(default_factory=list)
    dns: Items = field(default_factory=list)
    search: Items = field(default_factory=list)

    def put(self, key: str, place: Place, value: Node | str) -> None:
        """Set a key; a text stands where its key does."""
        node = text(place, value) if isinstance(value, str) else value
        self.values[key] = Entry(text(place, key), node)

    @property
    def reachable(self) -> bool:
        """Whether it gets addresses of its own."""
        return bool(self.addresses) or "dhcp4" in self.values or "dhcp6" in self.values

    def node(self) -> MappingNode:
        """As it would stand in version 2."""
        found = dict(self.values)
        names = {"addresses": self.dns, "search": self.search}
        dns = {name: listed(items) for name, items in names.items() if items}
        for name, items in (("addresses", self.addresses), ("routes", self.routes)):
            if items:
                found[name] = Entry(text(items[0].place, name), listed(items))
        if dns:
            place = next(iter(dns.values())).place
            found["nameservers"] = Entry(text(place, "nameservers"), mapping(place, dns))
        return MappingNode(self.place, tuple(found.values()))


def text(place: Place, value: str) -> Scalar:
    """A text, as if it stood at `place`."""
    return Scalar(place, ScalarKind.TEXT, value)


def listed(items: Items) -> Sequence:
    """A list of at least one node."""
    return Sequence(items[0].place, tuple(items))


def mapping(place: Place, values: Mapping[str, Node]) -> MappingNode:
    """A mapping whose keys stand where their values do."""
    pairs = (Entry(text(value.place, name), value) for name, value in values.items())
    return MappingNode(place, tuple(pairs))


def several(node: Node) -> Items:
    """The items of a list; a text is a list too, with spaces or commas between items."""
    if isinstance(node, Sequence):
        return list(node.items)
    if isinstance(node, Scalar) and not is_null(node):
        return [text(node.place, word) for word in node.text.replace(",", " ").split()]
    return [] if isinstance(node, Scalar) else [node]


def normal(key: Scalar) -> str:
    """A key as version 1 spells it, whichever of `-` and `_` a document has."""
    return key.text.replace("-", "_")


def unknown(key: Scalar, known: Iterable[str], reading: Reading) -> None:
    """Say that a key is none of `known`."""
    hint = nearest(normal(key), [*known])
    reading.note(key.place, f"unknown key {shown(key.text)}{hint}")
