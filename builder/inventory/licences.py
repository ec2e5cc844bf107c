"""Licences of Debian packages, from their copyright files.

Most are machine-readable ("Machine-readable debian/copyright file", format 1.0, once DEP-5). Of
the others only the names in their text are known, so nothing is declared of them.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.inventory.dpkg import Package, paragraphs
from builder.inventory.spdx_ids import spdx_id

NOASSERTION = "NOASSERTION"
TEXT_LIMIT = 4 << 20  # bytes of a copyright file; the kernel's is the longest by far
_COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.+\-]+[A-Za-z0-9+])")
_UNTIDY = re.compile(r"[^A-Za-z0-9.\-]+")


@dataclass(frozen=True, slots=True)
class Licence:
    """A package's licence: an SPDX expression, and the texts of what SPDX has no identifier for."""

    expression: str
    extracted: tuple[tuple[str, str, str], ...]  # (LicenseRef-..., Debian's name, text)
    comment: str | None = None


def read_licence(root: Path, package: Package) -> Licence:
    """The licence of a package, from usr/share/doc in a tree that still has its documentation."""
    file = root / "usr/share/doc" / package.name / "copyright"
    shown = file.relative_to(root)
    # A folder of documentation can be a link, but none may lead out of the tree.
    if not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
        return Licence(NOASSERTION, (), f"no {shown}")
    with file.open("rb") as stream:
        text = stream.read(TEXT_LIMIT).decode(errors="replace")
    return parse_copyright(text, str(shown))


def parse_copyright(text: str, where: str) -> Licence:
    """The licence that a copyright file declares; `where` stands in for texts that it lacks."""
    found = list(paragraphs(text))
    if not found or "format" not in found[0]:
        common = sorted(set(_COMMON.findall(text)))
        comment = f"{where} is not machine-readable"
        return Licence(
            NOASSERTION, (), comment + (f"; it names {', '.join(common)}" if common else "")
        )
    texts: dict[str, str] = {}
    for fields in found:
        name, _, body = fields.get("license", "").partition("\n")
        if body.strip():
            texts.setdefault(_key(name), _unfolded(body))
    names = [
        " ".join(fields["license"].partition("\n")[0].split())
        for fields in found
        if "files" in fields and "license" in fields
    ]
    extracted: dict[str, tuple[str, str]] = {}

    def resolve(name: str) -> str:
        known = spdx_id(name)
        if known is None:
            body = texts.get(_key(name)) or f"{name}: see {where}"
            known = _reference(name, body)
            extracted[known] = name, body
        return known

    expressions = sorted({expression(name, resolve) for name in names if name})
    if not expressions:
        return Licence(NOASSERTION, (), f"{where} names no licence")
    whole = _joined(expressions, "AND")
    return Licence(
        whole, tuple((reference, *extracted[reference]) for reference in sorted(extracted))
    )


def expression(text: str, resolve: Callable[[str], str]) -> str:
    """Debian's "A or B, and C" as SPDX's "(A OR B) AND C"; `resolve` names each licence.

    A comma binds least, then "or", then "and" (format 1.0, "Short name").
    """
    operator = "AND"
    clauses = []
    for clause in re.split(r"\s*,\s+", text.strip(" ,;")):
        first, _, rest = clause.partition(" ")
        if first.lower() in ("and", "or"):
            operator = first.upper()
            clause = rest  # noqa: PLW2901 (the clause without the word that joins it)
        alternatives = [
            _joined([resolve(name) for name in _split(alternative, "and")], "AND")
            for alternative in _split(clause, "or")
        ]
        clauses.append(_joined(alternatives, "OR"))
    return _joined(clauses, operator)


def _split(text: str, word: str) -> list[str]:
    parts = re.split(rf"\s+(?:{word}|{word}/or)\s+", text.strip(), flags=re.IGNORECASE)
    return [part for part in parts if part] or [text.strip() or "unnamed"]


def _joined(parts: Iterable[str], operator: str) -> str:
    unique = list(dict.fromkeys(parts))
    if len(unique) == 1:
        return unique[0]
    bracketed = [f"({part})" if re.search(r" (AND|OR) ", part) else part for part in unique]
    return f" {operator} ".join(bracketed)


def _reference(name: str, body: str) -> str:
    """An identifier of our own; the same name can stand for other texts in other packages."""
    digest = hashlib.sha256(body.encode()).hexdigest()[:8]
    tidy = _UNTIDY.sub("-", name)[:48].strip("-.") or "unnamed"
    return f"LicenseRef-{tidy}-{digest}"


def _key(name: str) -> str:
    return " ".join(name.lower().split())


def _unfolded(body: str) -> str:
    """A field's lines without their indent; a lone dot is an empty line (deb822(5))."""
    lines = [line.strip() for line in body.strip("\n").split("\n")]
    return "\n".join("" if line == "." else line for line in lines).strip()
