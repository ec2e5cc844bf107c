"""The status document as a table for people. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

_HEADER = ("POD", "PHASE", "READY", "RESTARTS", "REASON")


def lines(document: Mapping[str, Any], agent: str) -> list[str]:
    """A status document of schema 1; `agent` is the ActiveState of the agent's unit."""
    told = [f"{name:<9}{_line(text)}" for name, text in _rows(document, agent)]
    pods = [_HEADER, *(_pod(each) for each in document["pods"])]
    table = _columns(pods) if pods[1:] else ["no pods"]
    return [*table, "", *told] if told else table


def _pod(pod: Mapping[str, Any]) -> Sequence[str]:
    why = ": ".join(filter(None, (pod["reason"], _line(pod["message"]))))
    return (pod["id"], pod["phase"], "yes" if pod["ready"] else "no", str(pod["restarts"]), why)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _rows(document: Mapping[str, Any], agent: str) -> Iterator[tuple[str, str]]:
    if agent not in {"active", "unknown"}:
        yield "agent", f"{agent}: what is told here is its last word"
    if document["fault"]:
        yield "fault", document["fault"]
    yield from _each("refused", document["refused"])
    cluster = document.get("cluster")
    if cluster is not None:
        yield "cluster", "its lease holds" if cluster["lease"] else "no lease: replicas do not run"
        yield from _each("", cluster["faults"])
    if document.get("draining"):
        yield "drain", document["draining"]


def _each(name: str, problems: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((name, f"{what}: {why}") for what, why in problems.items())


def _line(text: str) -> str:
    return " ".join(text.split())
