"""What a document adds to a boot: hosts with one and without, by turns, on an image that tells."""

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from textwrap import indent

from builder import pipeline
from builder.definition.load import load
from builder.report import Reporter
from builder.vm.config import MachineConfig

from .figures import Figure, Unit
from .host import TELLING, Told, booted_twice, machine_of

_PAIRS = 3
_DOCUMENT = """\
#cloud-config
hostname: web-1
timezone: Europe/Berlin
ntp: {servers: [time.example.org]}
write_files:
  - {path: /etc/motd, content: hello}
coreos:
  units:
    - {name: hello.service, command: start, content: "[Service]\\nExecStart=/usr/bin/mount -V"}
bedplate:
  sysctl: {net.core.somaxconn: 1024}
"""
# Without a login, and here without a document, only the image itself can tell how it went.
_IMAGE = f"""\
extends: {{base}}
files:
  - path: /usr/lib/systemd/system/measured.service
    content: |
{indent(TELLING, " " * 6)}
units:
  wanted:
    multi-user.target: [measured.service]
"""


@dataclass(frozen=True, slots=True)
class Pair:
    """The first and the later boot of a host without a document, and of one with it."""

    without: tuple[Told, Told]
    having: tuple[Told, Told]


def figures(base: Path, options: pipeline.Options, tree: Path, work: Path) -> list[Figure]:
    """Build an image that tells, and boot it with a dozen lines of cloud-config and without.

    Args:
        base: the definition that it extends.
        options: where it is built, and what it trusts.
        tree: the tool tree, with QEMU.
        work: a folder for the machines.

    Raises:
        BedplateError: the image cannot be built, or a host did not come up within ten minutes.
    """
    definition = work / "measured.yaml"
    definition.write_text(_IMAGE.format(base=base))
    folder = pipeline.build(load(definition), options, Reporter()).folder
    having = replace(
        machine_of(folder, tree, options.cache, work),
        credentials={"bedplate.cloud-config": _DOCUMENT},
    )
    return figures_of([_pair(having, tree, number) for number in range(_PAIRS)])


def _pair(having: MachineConfig, tree: Path, number: int) -> Pair:
    folder = having.folder
    without = replace(having, folder=folder.with_name(f"none-{number}"), credentials={})
    having = replace(having, folder=folder.with_name(f"document-{number}"))
    return Pair(booted_twice(without, tree), booted_twice(having, tree))


def figures_of(pairs: list[Pair]) -> list[Figure]:
    """The medians of what the pairs' boots differ by."""

    def added(boot: int, figure: str) -> float:
        return median(pair.having[boot][figure] - pair.without[boot][figure] for pair in pairs)

    note = f"median of {len(pairs)} pairs, on the machine of `bedplate run`"
    return [
        Figure("a document adds, first boot: CPU", added(0, "config_cpu"), Unit.SECONDS, 1.5, note),
        Figure("a document adds, first boot", added(0, "boot"), Unit.SECONDS, None, note),
        Figure("a document adds, later: CPU", added(1, "config_cpu"), Unit.SECONDS, 1.5, note),
        Figure("a document adds, later", added(1, "boot"), Unit.SECONDS, None, note),
    ]
