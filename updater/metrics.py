"""Prometheus' text exposition format, version 0.0.4. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge; samples of one name stand together."""

    name: str
    help: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _line(sample: Sample) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in sample.labels.items())
    value = int(sample.value) if sample.value == int(sample.value) else sample.value
    return f"{sample.name}{{{pairs}}} {value}" if pairs else f"{sample.name} {value}"


def render_metrics(samples: Iterable[Sample]) -> bytes:
    """The text of some gauges, with one HELP and TYPE for each name."""
    lines: list[str] = []
    last = ""
    for sample in samples:
        if sample.name != last:
            lines += [f"# HELP {sample.name} {sample.help}", f"# TYPE {sample.name} gauge"]
            last = sample.name
        lines.append(_line(sample))
    return ("\n".join(lines) + "\n").encode()
