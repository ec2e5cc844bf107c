"""The rebuild comparison: the same packages, another folder, another time, the same bytes."""

from dataclasses import replace
from pathlib import Path

from builder.definition.model import Definition
from builder.pipeline import Build, Options, build
from builder.report import Reporter
from builder.scratch import scratch
from updater.errors import BedplateError


class DifferenceError(BedplateError):
    """Two builds of one definition differ; the message names each artefact and where it does."""


def build_twice(definition: Definition, options: Options, reporter: Reporter) -> Build:
    """Build, build again from the first one's lock with nothing packed in the cache, compare.

    Raises:
        DifferenceError: an artefact differs in any byte.
    """
    first = build(definition, options, reporter)
    with scratch(options.cache / "rebuilds") as folder:
        again = replace(
            options,
            output=folder / "out",
            # Of another length, too: a path that got into an artefact would move what is behind it.
            work=folder / "a-longer-path",
            lock=first.lock,
            packed_again=True,
        )
        reporter.info("again, from the lock and from scratch")
        second = build(definition, again, reporter)
        with reporter.step("comparison") as step:
            compared = compare(first.folder, second.folder)
            step.note(f"{compared} artefacts are the same, byte for byte")
    return first


def compare(one: Path, other: Path) -> int:
    """Compare two folders of artefacts; how many files were the same.

    Raises:
        DifferenceError: a file is missing on one side, or differs.
    """
    names = sorted({path.name for folder in (one, other) for path in folder.iterdir()})
    wrong = [line for name in names if (line := _difference(one / name, other / name))]
    if wrong:
        listing = "\n".join(f"  {line}" for line in wrong)
        raise DifferenceError(f"{len(wrong)} of {len(names)} artefacts differ:\n{listing}")
    return len(names)


def _difference(one: Path, other: Path) -> str | None:
    for path in (one, other):
        if not path.is_file():
            return f"{path.name}: not in {path.parent}"
    with one.open("rb") as left, other.open("rb") as right:
        offset = 0
        while True:
            a, b = left.read(1 << 20), right.read(1 << 20)
            if a != b:
                both = enumerate(zip(a, b, strict=False))
                within = next((i for i, (x, y) in both if x != y), min(len(a), len(b)))
                return f"{one.name}: first at byte {offset + within}"
            if not a:
                return None
            offset += len(a)
