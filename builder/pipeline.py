"""definition -> packages -> root -> initrd -> seal -> UKI -> disk -> release: the whole build."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from builder.definition.model import Budgets, Definition
from builder.inventory.dpkg import read_packages
from builder.inventory.lock import Lock, render_lock
from builder.inventory.sbom import write_sbom
from builder.inventory.sizes import measure, render_table, size_report
from builder.inventory.sizes import to_plain as sizes_to_plain
from builder.output import fixed_umask, put
from builder.report import Reporter, Step, format_size
from builder.run import Sandbox
from builder.scratch import scratch
from builder.steps import disk, initrd, kernel, root, seal
from builder.steps.bootstrap import Selection, Variant, unpack
from builder.steps.packages import RootPackages, rebuild, resolve
from builder.steps.toolbox import tool_tree, toolbox
from builder.steps.tree import entries
from updater import manifest, wire
from updater.errors import BedplateError, InputError
from updater.files import write_atomic
from updater.version import Version

# Of a 161 MiB root, level 9 makes 58 MB in 7 s of CPU, level 19 makes 54 MB in 87 s.
_WIRE_LEVEL = 9
_THREADS = 2
# As in the labels and entries of `updater.slots` and `updater.bootentries`.
_NAME = "bedplate"


class BudgetError(BedplateError):
    """A part of the image is larger than the definition allows."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a build needs besides its definition.

    Attributes:
        output: where the release's folder is made.
        cache: tool trees, packages and packed parts that later builds use again.
        trust: what the image trusts.
        work: where the folder of what is half-done is made; None is beside the cache's others.
        lock: the packages to build from; None asks the mirror.
        fresh: ask the mirror even if the cache has an answer.
        packed_again: take no packed initrd from the cache, to prove that it packs the same.
        wire_level: zstd's level for what hosts download.
    """

    output: Path
    cache: Path
    trust: root.Trust
    work: Path | None = None
    lock: Lock | None = None
    fresh: bool = False
    packed_again: bool = False
    wire_level: int = _WIRE_LEVEL


@dataclass(frozen=True, slots=True)
class Build:
    """A finished build: its folder and the figures that a person asks for, in bytes."""

    folder: Path
    version: Version
    root_hash: str
    root_size: int
    initrd_size: int
    uki_size: int
    wire_size: int
    lock: Lock


@dataclass(frozen=True, slots=True)
class _Site:
    """One build under way: what is built, of what, where."""

    definition: Definition
    options: Options
    packages: RootPackages
    tools: Sandbox
    work: Path
    out: Path

    @property
    def label(self) -> str:
        return f"{self.definition.name}_{self.definition.version}"

    @property
    def created(self) -> datetime:
        return datetime.fromtimestamp(self.packages.lock.epoch, UTC)


def to_plain(built: Build) -> dict[str, object]:
    """The figures of a build as JSON values."""
    return {
        "folder": str(built.folder),
        "version": str(built.version),
        "root_hash": built.root_hash,
        "root_size": built.root_size,
        "initrd_size": built.initrd_size,
        "uki_size": built.uki_size,
        "wire_size": built.wire_size,
        "packages": len(built.lock.packages),
        "epoch": built.lock.epoch,
    }


def build(definition: Definition, options: Options, reporter: Reporter) -> Build:
    """Build a release into `options.output`/<name>_<version>, complete or not at all.

    Raises:
        InputError: hosts could not update to an image of this name.
        BedplateError: a step failed; what it had made is gone again.
    """
    if definition.name != _NAME:
        raise InputError(
            f"name: {definition.name}: expected {_NAME}, the name by which hosts find their slots "
            "and boot entries; tell images apart by version and channel"
        )
    with fixed_umask(), scratch(options.work or options.cache / "work") as work:
        with reporter.step("tool tree") as step:
            tools = _tools(definition, options.cache, work, step)
        with reporter.step("packages") as step:
            packages = _packages(definition, options, work, tools, step)
            step.note(f"{len(packages.lock.packages)} packages")
        site = _Site(definition, options, packages, tools, work, work / "out")
        site.out.mkdir()
        built = _assemble(site, reporter)
        put(site.out, built.folder)
    return built


def _assemble(site: _Site, reporter: Reporter) -> Build:
    definition = site.definition
    tree, ramdisk, image = site.work / "root", site.work / "initrd", site.work / "root.erofs"
    with reporter.step("root") as step:
        kernel_release = _root(site, tree, ramdisk, step)
    os_release = tree / "usr/lib/os-release"
    with reporter.step("initrd") as step:
        initrd.lay_over(ramdisk, definition)
        kept = None if site.options.packed_again else site.options.cache / "initrds"
        packed = initrd.pack(ramdisk, site.tools, site.packages.lock.epoch, cache=kept)
        step.note(format_size(packed.stat().st_size))
    with reporter.step("seal") as step:
        sealed = seal.seal(
            tree,
            image,
            site.out / "root.verity",
            site.tools,
            name=definition.name,
            epoch=site.packages.lock.epoch,
        )
        step.note(f"{format_size(image.stat().st_size)}, root hash {sealed.root_hash[:16]}…")
    with reporter.step("disk") as step:
        uki = site.out / "bedplate.efi"
        disk.make_uki(
            site.tools,
            kernel=site.work / "vmlinuz",
            kernel_release=kernel_release,
            initrd=packed,
            os_release=os_release,
            command_line=[*definition.kernel.command_line, f"roothash={sealed.root_hash}"],
            output=uki,
        )
        _disks(site, disk.SlotFiles(image, site.out / "root.verity", uki), sealed)
        step.note(f"UKI {format_size(uki.stat().st_size)}")
    with reporter.step("release") as step:
        described = _release(site, sealed, image)
        step.note(f"{format_size(described.wire.length)} on the wire")
    built = Build(
        folder=site.options.output / site.label,
        version=definition.version,
        root_hash=sealed.root_hash,
        root_size=image.stat().st_size,
        initrd_size=packed.stat().st_size,
        uki_size=uki.stat().st_size,
        wire_size=described.wire.length,
        lock=site.packages.lock,
    )
    hold_to_budgets(definition, site.options, site.out, built)
    return built


def _root(site: _Site, tree: Path, ramdisk: Path, step: Step) -> str:
    """Make the finished root and gather the initrd from it on the way; the kernel's release."""
    definition = site.definition
    unpack(site.packages.tar, tree)
    installed = read_packages(tree)
    unpacked = measure(tree)
    sbom = write_sbom(
        tree,
        installed,
        name=definition.name,
        version=str(definition.version),
        lock=site.packages.lock,
        created=site.created,
    )
    (site.out / "sbom.spdx.json").write_bytes(sbom)
    (site.out / "packages.lock.json").write_bytes(render_lock(site.packages.lock))
    root.prepare(tree, definition, site.tools, site.packages.lock.epoch)
    kernel_release = kernel.kernel_version(tree)
    kernel.take_kernel(tree, site.work / "vmlinuz")
    initrd.gather(tree, ramdisk, site.tools, definition.initrd)
    root.complete(tree, definition, site.tools, site.options.trust, site.packages.lock.epoch)
    names = sorted(str(path.relative_to(tree)) for path in entries(tree))
    (site.out / "files.txt").write_text("".join(f"{name}\n" for name in names))
    report = size_report(site.label, installed, before=unpacked, after=measure(tree))
    (site.out / "sizes.txt").write_text(render_table(report))
    (site.out / "sizes.json").write_text(json.dumps(sizes_to_plain(report), indent=1) + "\n")
    step.note(f"{report.files} files, {format_size(report.size)}")
    return kernel_release


def _disks(site: _Site, files: disk.SlotFiles, sealed: seal.Seal) -> None:
    sizes = site.definition.disk
    raw = site.out / f"{site.label}.raw"
    disk.make_disk(
        site.work,
        raw,
        site.tools,
        label=site.label,
        files=files,
        seal=sealed,
        sizes=disk.Sizes(sizes.esp, sizes.root, sizes.verity),
        epoch=site.packages.lock.epoch,
    )
    disk.make_qcow2(raw, raw.with_suffix(".qcow2"), site.tools)


def _release(site: _Site, sealed: seal.Seal, image: Path) -> manifest.ReleaseManifest:
    definition, out = site.definition, site.out
    chunk_blocks = definition.release.chunk // manifest.BLOCK_SIZE
    wire.encode(
        image,
        out / "root.wire",
        out / "root.index",
        chunk_blocks=chunk_blocks,
        level=site.options.wire_level,
        threads=_THREADS,
    )
    described = manifest.ReleaseManifest(
        image=definition.name,
        version=definition.version,
        architecture=manifest.Architecture(definition.architecture.value),
        built=site.created,
        minimum_version=definition.minimum_version or Version.parse("0"),
        root=manifest.Root(
            hash=sealed.root_hash,
            salt=seal.SALT,
            block_size=manifest.BLOCK_SIZE,
            blocks=sealed.blocks,
            chunk_blocks=chunk_blocks,
        ),
        tree=_artefact(out / "root.verity"),
        index=_artefact(out / "root.index"),
        wire=_artefact(out / "root.wire"),
        uki=_artefact(out / "bedplate.efi"),
    )
    (out / "manifest.json").write_bytes(described.render())
    return described


def _artefact(path: Path) -> manifest.Artefact:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return manifest.Artefact(path.name, digest, path.stat().st_size)


def hold_to_budgets(definition: Definition, options: Options, out: Path, built: Build) -> None:
    """Refuse a build that is too large; its list of sizes stays beside where it would be.

    Raises:
        BudgetError: with each part, its size and where the list is.
    """
    if over := over_budget(definition.budgets, built):
        sizes = options.output / f"{built.folder.name}.sizes.txt"
        sizes.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(sizes, (out / "sizes.txt").read_bytes())
        raise BudgetError(f"{'; '.join(over)}; see {sizes} for what to prune")


def over_budget(budgets: Budgets, built: Build) -> list[str]:
    """What is larger than the definition allows, a sentence each."""
    return [
        f"{name} has {format_size(size)}, its budget is {format_size(budget)}"
        for name, size, budget in (
            ("the root", built.root_size, budgets.root),
            ("the initrd", built.initrd_size, budgets.initrd),
            ("the UKI", built.uki_size, budgets.uki),
            ("the wire", built.wire_size, budgets.wire),
        )
        if budget is not None and size > budget
    ]


def _tools(definition: Definition, cache: Path, work: Path, step: Step) -> Sandbox:
    tree = tool_tree(cache, definition.suite, definition.mirror, on_line=step.output)
    return toolbox(tree, work)


def _packages(
    definition: Definition, options: Options, work: Path, tools: Sandbox, step: Step
) -> RootPackages:
    selection = Selection(
        definition.suite, Variant.ESSENTIAL, definition.packages, definition.mirror
    )
    if options.lock is None:
        return resolve(selection, options.cache, on_line=step.output, fresh=options.fresh)
    return rebuild(
        selection,
        options.lock,
        archives=options.cache / "archives",
        work=work,
        tools=tools,
        on_line=step.output,
    )
