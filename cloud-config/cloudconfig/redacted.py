"""A document with every secret cut out: for the API, for support bundles, for comparing two.

What is a secret is the schema's word (`Kind.secret`), key by key: no text is searched for what
looks like one. What the schema does not know is cut, too. Of a URL its server is left.
"""

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from cloudconfig.document import HEADER, read_tree
from cloudconfig.kinds import BASE_URL, ENDPOINTS, HTTPS, ORIGIN, ORIGINS, URL, Either
from cloudconfig.model.mounts import Mounts
from cloudconfig.model.network import NetworkKind
from cloudconfig.model.network_kinds import Aliased, DevicesOf, renamed
from cloudconfig.model.top import SCHEMA
from hostkit.document.schema import Kind, Later, ListOf, MapOf, Reading, Section, Wrong, keys
from hostkit.document.source import Mapping, Node, Scalar, ScalarKind, Sequence

_PLACEHOLDER = re.compile(r"<cut out: [^<>\n]{1,40}>")
_URLS = (BASE_URL, HTTPS, ORIGIN, URL)
_LISTS_OF_URLS = (ENDPOINTS, ORIGINS)  # with commas between
# A server that nobody's password is in: without @ there is no user, RFC 3986, 3.2.1.
_SERVER = re.compile(
    r"(https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)(?::[0-9]{1,5})?)"
    rf"(/[^@]*|{_PLACEHOLDER.pattern})?"
)
# fstab(5): a device by its path or its name, and options without a value, which hide nothing.
_DEVICE = re.compile(r"[A-Za-z0-9_.:\-/=]+")
_FLAGS = re.compile(r"[a-z0-9_\-,]*")
_OPTIONS = 3  # which field of fstab(5) they are
# Of the kernel's parameters one is a key: Documentation/networking/ip-sysctl.rst.
_SECRET_PARAMETER = "stable_secret"  # noqa: S105 - its name
_UNKNOWN = "<unknown keys>"
_WIDTH = 4096  # columns of a line of YAML: a value stays on its line

Label = Callable[[str], str]


def bytes_of(text: str) -> str:
    """What is said of a text that is cut out: how long it is."""
    return f"{len(text.encode())} bytes"


def redact(data: bytes, file: Path, label: Label = bytes_of) -> str:
    """The document `data`, called `file` in messages, as a document again; comments are lost.

    `label` is what to say in place of a secret. What was cut out before stays so.

    Raises:
        DocumentError: it is no cloud-config, or no YAML.
    """
    node = read_tree(data, file)
    if node is None:
        return f"{HEADER}\n"
    shown = _shown(SCHEMA, node, label)
    text: str = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return f"{HEADER}\n{text}"


def public(url: str) -> str:
    """A URL without what may be secret in it: its server, and that there is more."""
    return _url(url, bytes_of)


def numbered() -> Label:
    """Labels that tell secrets from each other, for two documents in the same hands."""
    seen: dict[str, int] = {}
    return lambda text: f"{bytes_of(text)}, no. {seen.setdefault(text, len(seen) + 1)}"


def was_redacted(data: bytes) -> bool:
    """Whether something was cut out of a document before."""
    return _PLACEHOLDER.search(data.decode(errors="replace")) is not None


def _cut(text: str, label: Label) -> str:
    return text if _PLACEHOLDER.fullmatch(text) else f"<cut out: {label(text)}>"


def _shown(kind: Kind, node: Node, label: Label) -> object:
    """What of `node` may be seen, as plain values; `kind` is what should stand there."""
    found = _inner(kind, node)
    if found is None:
        return _hidden(node, label)
    kind, node = found
    match kind:
        case Section() if isinstance(node, Mapping):
            return _section(kind, node, label)
        case MapOf() | DevicesOf() if isinstance(node, Mapping):
            return _map(kind, node, label)
        case ListOf() if isinstance(node, Sequence):
            return [_shown(kind.item, item, label) for item in node.items]
        case Mounts() if isinstance(node, Sequence):
            return [_mount(item, label) for item in node.items]
    composite = isinstance(kind, Section | MapOf | DevicesOf | ListOf | Mounts)
    return _hidden(node, label) if composite else _single(kind, node, label)


def _inner(kind: Kind, node: Node) -> tuple[Kind, Node] | None:
    """The kind that another one stands for, and the node as that one has it; None if none fits."""
    match kind:
        case Later():
            return _inner(kind.find(), node)
        case Either():
            fits = {Scalar: kind.scalar, Sequence: kind.sequence, Mapping: kind.mapping}
            inner = fits[type(node)]
            return _inner(inner, node) if inner else None
        case NetworkKind():
            # As version 2, which is the one that has a schema.
            [part] = kind.parts()
            try:
                return part.kind, kind.as_section(node, Reading(as_coreos=True))
            except Wrong:
                return None
        case Aliased():
            return kind.section, renamed(node, kind.names)
    return kind, node


def _single(kind: Kind, node: Node, label: Label) -> object:
    if isinstance(node, Scalar) and kind in _URLS:
        return _url(node.text, label)
    # A comma may be a part of a password, which ends with an @.
    if isinstance(node, Scalar) and kind in _LISTS_OF_URLS and "@" not in node.text:
        return ",".join(_url(each.strip(), label) for each in node.text.split(","))
    return _hidden(node, label) if kind.secret else _plain(node)


def _section(kind: Section, node: Mapping, label: Label) -> dict[str, object]:
    known, besides = keys(kind.model), {*kind.ignored, *kind.refused}
    found: dict[str, object] = {}
    for entry in node.entries:
        name = entry.key.text.replace("-", "_")
        if name in known:
            found[entry.key.text] = _shown(known[name].kind, entry.value, label)
        else:
            # A word that nobody knows may be a part of a secret that lost its quotes.
            place = entry.key.text if name in besides else _UNKNOWN
            found[place] = _hidden(entry.value, label)
    return found


def _map(kind: MapOf | DevicesOf, node: Mapping, label: Label) -> dict[str, object]:
    value = kind.value if isinstance(kind, MapOf) else kind.device
    pattern = kind.pattern if isinstance(kind, MapOf) else kind.name.pattern
    found: dict[str, object] = {}
    for entry in node.entries:
        name = entry.key.text
        if not re.fullmatch(pattern, name):
            found[_UNKNOWN] = _hidden(entry.value, label)
        elif name.endswith(_SECRET_PARAMETER):
            found[name] = _hidden(entry.value, label)
        else:
            found[name] = _shown(value, entry.value, label)
    return found


def _mount(node: Node, label: Label) -> object:
    """A line of fstab(5); a network's device and some options have passwords in them."""
    if not isinstance(node, Sequence):
        return _hidden(node, label)
    found: list[object] = []
    for number, item in enumerate(node.items):
        pattern = {0: _DEVICE, _OPTIONS: _FLAGS}.get(number)
        bare = isinstance(item, Scalar) and (not pattern or pattern.fullmatch(item.text))
        found.append(_plain(item) if bare else _hidden(item, label))
    return found


def _url(url: str, label: Label) -> str:
    match = _SERVER.fullmatch(url)
    if not match:
        return _cut(url, label) if url else ""
    server, rest = match.groups(default="")
    return f"{server}{rest if rest in {'', '/'} else _cut(rest, label)}"


def _hidden(node: Node, label: Label) -> object:
    if isinstance(node, Scalar):
        return None if node.kind is ScalarKind.NULL else _cut(node.text, label)
    several = node.items if isinstance(node, Sequence) else node.entries
    return f"<cut out: {len(several)} {'value' if len(several) == 1 else 'values'}>"


def _plain(node: Node) -> object:
    """The value as it stands; a number is written as it was, so 1.10 is no 1.1."""
    if isinstance(node, Sequence):
        return [_plain(item) for item in node.items]
    if isinstance(node, Mapping):
        return {entry.key.text: _plain(entry.value) for entry in node.entries}
    if node.kind is ScalarKind.NULL:
        return None
    if node.kind is ScalarKind.BOOLEAN:
        return node.text.lower() == "true"
    whole = node.kind is ScalarKind.INTEGER and str(int(node.text)) == node.text
    return int(node.text) if whole else node.text
