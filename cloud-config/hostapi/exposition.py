"""Prometheus' text of every agent as one: each name's lines together, told once what it is. Pure.

The rules are those of the text format 0.0.4: one HELP and one TYPE for each name, before its
samples, and all lines of a name in one group.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_ABOUT = re.compile(rf"# (HELP|TYPE) ({_NAME})(?: .*)?")
_LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*"'
_VALUE = r"[+-]?(?:Inf|NaN|[0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?)"
_SAMPLE = re.compile(
    rf"(({_NAME})(?:\{{(?:{_LABEL})?(?:,{_LABEL})*,?\}})?) +{_VALUE}(?: +-?[0-9]+)?"
)


@dataclass(slots=True)
class _Family:
    about: dict[str, str] = field(default_factory=dict)  # the whole line, by HELP and TYPE
    samples: dict[str, str] = field(default_factory=dict)  # the whole line, by name and labels


def join(texts: Iterable[str]) -> str:
    """One text of many; of lines for the same series the first counts, what is no line is left."""
    families: dict[str, _Family] = {}
    for text in texts:
        family = ""
        for line in text.split("\n"):
            if about := _ABOUT.fullmatch(line):
                family = about[2]
                families.setdefault(family, _Family()).about.setdefault(about[1], line)
            elif sample := _SAMPLE.fullmatch(line):
                # A histogram's samples have names of their own, which begin with the family's.
                name = family if _belongs(sample[2], family) else sample[2]
                families.setdefault(name, _Family()).samples.setdefault(sample[1], line)
    lines = [
        line
        for each in families.values()
        if each.samples
        for line in (*sorted(each.about.values()), *each.samples.values())
    ]
    return "".join(f"{line}\n" for line in lines)


def _belongs(name: str, family: str) -> bool:
    return bool(family) and name.removeprefix(family) in {"", "_bucket", "_sum", "_count"}
