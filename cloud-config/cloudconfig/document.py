"""Bytes to a checked configuration: what comes before the YAML, the YAML, and what it means."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cloudconfig.model.top import SCHEMA, CloudConfig
from cloudconfig.variables import substitute
from hostkit.document.schema import Reading, Wrong, is_null
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
    ("{", "JSON (Ignition?): expected a YAML document under #cloud-config; the handbook says how"),
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
    text = _text(data, file)
    if variables is not None:
        text = substitute(text, variables)
    return _typed(parse(text, file, LIMITS) if _says_anything(text) else None, file)


def read_tree(data: bytes, file: Path) -> Node | None:
    """What `data` says as it stands, whatever it means; None if it says nothing.

    Raises:
        DocumentError: it is no cloud-config, or no YAML.
    """
    text = _text(data, file)
    return parse(text, file, LIMITS) if _says_anything(text) else None


def _text(data: bytes, file: Path) -> str:
    text = decode(_unpacked(data, file), file, LIMITS)
    _check_header(text, file)
    return text


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


def _typed(node: Node | None, file: Path) -> Document:
    if node is None or is_null(node):
        return Document(CloudConfig(), ())
    reading = Reading(as_coreos=True)
    try:
        config: CloudConfig = SCHEMA.read(node, reading)
    except Wrong:
        raise DocumentError(_in_order(reading.problems), _in_order(reading.warnings)) from None
    except RecursionError:
        raise _first_line(file, "nested too deeply") from None
    return Document(config, tuple(_in_order(reading.warnings)))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: (problem.place.line, problem.place.column))


def _first_line(file: Path, message: str) -> DocumentError:
    return DocumentError([Problem(Place(file, 1, 1), message)])
