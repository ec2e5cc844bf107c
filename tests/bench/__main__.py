"""`python -m tests.bench`: builds two releases, measures, prints one table (or JSON)."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from builder import pipeline
from builder.definition.load import load
from builder.report import Reporter, emit_json
from builder.steps.toolbox import tool_tree, toolbox
from updater.errors import BedplateError

from . import (
    config,
    delta,
    document,
    host,
    overlay,
    pods_agent,
    pods_plan,
    pods_services,
    release,
    staging,
)
from .figures import MB, Figure, Unit, of_vms, table, to_plain

_PROJECT = Path(__file__).resolve().parents[2]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench",
        description="Figures of builds and updates on this machine, with the aims beside them.",
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="default: .cache")
    parser.add_argument(
        "--cold", action="store_true", help="build from nothing, too; needs a mirror"
    )
    parser.add_argument(
        "--builds",
        type=Path,
        nargs=2,
        metavar=("OLD", "NEW"),
        help="folders of two releases to measure in place of building them",
    )
    parser.add_argument(
        "--only", choices=("overlay", "pods"), help="the figures of this alone; nothing is built"
    )
    parser.add_argument("--json", action="store_true", help="the figures as JSON on stdout")
    return parser


def _measure(args: argparse.Namespace, work: Path) -> list[Figure]:
    reporter, figures, cache = Reporter(), [], args.cache.absolute()
    if args.only == "pods":
        return _pods(reporter, cache)
    if args.only:
        return _overlay(reporter, cache)
    if args.builds:
        folders = args.builds
    else:
        made = release.build_two(_PROJECT, cache, work, cold=args.cold)
        folders = [made.old.folder, made.new.folder]
        cold = "" if args.cold else "make bench BENCH=--cold"
        figures += [
            Figure("cold build", made.cold_seconds, Unit.SECONDS, note=cold),
            Figure("warm build, one file changed", made.warm_seconds, Unit.SECONDS, 20),
            Figure("initrd", made.new.initrd_size, Unit.BYTES, 10 * MB),
        ]
    with reporter.step("unpacking both images"):
        old, new = (release.read(folder, work) for folder in folders)
    described = new.manifest
    figures += [
        Figure("wire of a full release", described.wire.length, Unit.BYTES, 80 * MB),
        Figure("root on disk", described.root.size, Unit.BYTES),
        Figure("UKI", described.uki.length, Unit.BYTES),
    ]
    with reporter.step("deltas"):
        figures += _deltas(old, new)
    with reporter.step("whole image, zstd -19") as step:
        definition = load(_PROJECT / "images/base.yaml")
        tree = tool_tree(cache, definition.suite, definition.mirror, on_line=step.output)
        whole = delta.whole_image(new.image, toolbox(tree, work), work)
        figures.append(Figure("root 1 -> 2, whole image, zstd -19", whole, Unit.BYTES))
    with reporter.step("a host, booted twice"):
        figures += host.figures(new.folder, tree, cache, work)
    with reporter.step("hosts with a document and without"):
        figures += _document(tree, cache, work / "document")
    with reporter.step("staging"):
        figures += _speeds(staging.measure(old, new, work))
    with reporter.step("cloud-configs"):
        figures += config.figures()
    figures += _pods(reporter, cache)
    figures += _overlay(reporter, cache)
    return figures + of_vms(_PROJECT / "build/vm-figures.json")


def _document(tree: Path, cache: Path, work: Path) -> list[Figure]:
    work.mkdir()
    options = pipeline.Options(work / "build", cache, release.made_trust(work))
    return document.figures(_PROJECT / "images/base.yaml", options, tree, work)


def _pods(reporter: Reporter, cache: Path) -> list[Figure]:
    with reporter.step("plans of pods, services, and an agent with 50 pods"):
        return [*pods_plan.figures(), *pods_services.figures(cache), *pods_agent.figures()]


def _overlay(reporter: Reporter, cache: Path) -> list[Figure]:
    with reporter.step("the overlay with 2,000 hosts"):
        return overlay.figures(cache)


def _deltas(old: release.Release, new: release.Release) -> list[Figure]:
    ours, others = delta.ours(old, new), delta.block_hashes(old.image, new.image)
    parts = f"tree {ours.tree}, index {ours.index}, {ours.requests} ranges {ours.chunks}"
    index = f"index {others.index}"
    return [
        Figure("root 1 -> 2, ours", ours.total, Unit.BYTES, note=parts),
        Figure("root 1 -> 2, RAUC adaptive, plain bundle", others.plain, Unit.BYTES, note=index),
        Figure("root 1 -> 2, RAUC adaptive, zstd bundle", others.packed, Unit.BYTES, note=index),
    ]


def _speeds(speeds: staging.Speeds) -> list[Figure]:
    received = f"{speeds.wire} bytes received"
    return [
        Figure("sha256sum of the root", speeds.sha256sum, Unit.RATE),
        Figure("hashing it by its tree", speeds.hashing, Unit.RATE),
        Figure("staging 1 -> 2", speeds.copying, Unit.RATE, note=received),
        Figure("staging from nothing", speeds.fetching, Unit.RATE, note="over loopback HTTP"),
        Figure("verifying the slot", speeds.verifying, Unit.RATE),
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the bench: 0 measured, 1 failed, 2 bad input."""
    args = _parser().parse_args(argv)
    try:
        args.cache.mkdir(parents=True, exist_ok=True)
        # Beside the cache and not in /tmp, which may be memory.
        with tempfile.TemporaryDirectory(dir=args.cache.absolute(), prefix="bench-") as name:
            figures = _measure(args, Path(name).resolve())
    except (BedplateError, OSError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return error.exit_code if isinstance(error, BedplateError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("bench: interrupted\n")
        return 130
    if args.json:
        emit_json(to_plain(figures))
    else:
        table(figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
