"""Bytes to a checked configuration: what comes before the YAML, the YAML, and what it means."""

import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cloudconfig.model.top import SCHEMA, CloudConfig
from cloudconfig.variables import substitute
from hostkit.document.schema import Fault, Reading, Wrong, is_null, place_of
from hostkit.document.source import (
    DocumentError,
    Limits,
    Node,
    Place,
    Problem,
    decode,
    parse,
)

LIMITS = Limits(length=4 << 20, nodes=400_000)
HEADER = "#cloud-config"
# What else clouds hand to their guests, by how it begins, and what to do instead.
_OTHERS = (
    ("#!", "a script: there is no shell here; write a unit (coreos.units) or a pod"),
    ("#cloud-boothook", "a script: there is no shell here; write a unit (coreos.units) or a pod"),
    ("#include", "a list of URLs: give the document itself, or fetch files by write_files.source"),
    ("#cloud-config-archive", "an archive: one document is the whole configuration"),
    ("## template: jinja", "a cloud-init template: render it before, or use $private_ipv4"),
    ("Content-Type: multipart", "several documents: one is the whole configuration"),
    ("MIME-Version:", "several documents: one is the whole configuration"),
    ("{", "JSON (Ignition?): write YAML, with its files in write_files, its units in coreos.units"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """A document that is right; `warnings` are of what does nothing here."""

    config: CloudConfig
    warnings: tuple[Problem, ...]


def read_document(data: bytes, file: Path, variables: Mapping[str, str] | None = None) -> Document:
    """The configuration in `data`, which is called `file` in messages.

    Without `variables` the document is checked as it stands, as on a workstation.

    Raises:
        DocumentError: all that is wrong with it, each with its line and column.
    """
    text = _text(data, file, variables)
    reading = Reading(as_coreos=True)
    node = parse(text, file, LIMITS, reading.problems) if _says_anything(text) else None
    return _typed(node, file, reading)


def read_tree(data: bytes, file: Path, variables: Mapping[str, str] | None = None) -> Node | None:
    """What `data` says, whatever it means; None if it says nothing. `variables` as above.

    Raises:
        DocumentError: it is no cloud-config, or no YAML.
    """
    text = _text(data, file, variables)
    return parse(text, file, LIMITS) if _says_anything(text) else None


def placed(
    faults: Iterable[Fault], data: bytes, file: Path, variables: Mapping[str, str] | None = None
) -> list[Problem]:
    """What only shows behind the schema, in order, each where it stands in a right document."""
    faults = tuple(faults)
    tree = read_tree(data, file, variables) if faults else None
    start = Place(file, 1, 1)
    return _in_order(
        [Problem(place_of(tree, each.path) if tree else start, each.message) for each in faults]
    )


def _text(data: bytes, file: Path, variables: Mapping[str, str] | None) -> str:
    text = decode(_unpacked(data, file), file, LIMITS)
    _check_header(text, file)
    return text if variables is None else substitute(text, variables)


def _unpacked(data: bytes, file: Path) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        stream = zlib.decompressobj(wbits=31)
        plain = stream.decompress(data, LIMITS.length + 1)
    except zlib.error as error:
        raise _first_line(file, f"compressed with gzip, but broken: {error}") from None
    if not stream.eof and len(plain) <= LIMITS.length:
        raise _first_line(file, "compressed with gzip, but cut short")
    return plain


def _check_header(text: str, file: Path) -> None:
    first = text.split("\n", 1)[0].rstrip()
    if first == HEADER:
        return
    for beginning, instead in _OTHERS:
        if text.startswith(beginning):
            raise _first_line(file, f"this is {instead}")
    raise _first_line(file, f"the first line is not {HEADER}")


def _says_anything(text: str) -> bool:
    lines = (line.strip() for line in text.splitlines())
    return any(line and not line.startswith("#") and line != "---" for line in lines)


def _typed(node: Node | None, file: Path, reading: Reading) -> Document:
    if node is None or is_null(node):
        return Document(CloudConfig(), ())
    config: CloudConfig | None = None
    try:
        with suppress(Wrong):
            config = SCHEMA.read(node, reading)
    except RecursionError:
        raise _first_line(file, "nested too deeply") from None
    if config is None or reading.problems:
        raise DocumentError(_in_order(reading.problems), _in_order(reading.warnings))
    return Document(config, tuple(_in_order(reading.warnings)))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.place.line, problem.place.column))


def _first_line(file: Path, message: str) -> DocumentError:
    return DocumentError([Problem(Place(file, 1, 1), message)])
