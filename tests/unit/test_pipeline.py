import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from build_kit import plant
from builder import pipeline
from builder.definition.load import load
from builder.definition.model import Budgets, Definition
from builder.inventory.lock import Lock
from builder.output import fixed_umask, put
from builder.pipeline import BudgetError, Build, Options, build, over_budget
from builder.report import Reporter
from builder.steps import packages
from builder.steps.root import Trust
from builder.verify import DifferenceError, build_twice
from updater.errors import BedplateError
from updater.version import Version

LOCK = Lock("trixie", 1700000000, ())
MIB = 1 << 20


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    (tmp_path / "host.yaml").write_text("name: bedplate\nversion: 1\nbudgets: {root: 1MiB}\n")
    return load(tmp_path / "host.yaml")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(tmp_path / "out", tmp_path / "cache", Trust(b"", b""))


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    with (tmp_path / "log").open("w") as stream:
        yield Reporter(Console(file=stream, force_terminal=False))


class Site:
    """The steps of a build, replaced: what they would write, and where they fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.content = "first"
        self.failure: BaseException | None = None
        self.root_size = 1
        self.umask = 0
        self.options: list[Options] = []
        self.works: list[Path] = []
        monkeypatch.setattr(pipeline, "tool_tree", lambda *_args, **_options: Path("/tools"))
        monkeypatch.setattr(pipeline, "_packages", self._packages)
        monkeypatch.setattr(pipeline, "_root", self._root)
        monkeypatch.setattr(pipeline, "_assemble", self._assemble)

    def _packages(self, *args: object) -> packages.RootPackages:
        options = args[1]
        assert isinstance(options, Options)
        self.options.append(options)
        return packages.RootPackages(Path("root.tar"), LOCK)

    def _root(self, *_args: object) -> str:
        return "6.12"

    def _assemble(self, site: pipeline._Site, _reporter: Reporter) -> Build:
        self.umask = os.umask(0)
        os.umask(self.umask)
        self.works.append(site.work)
        plant(site.out, {"root.wire": self.content, "sizes.txt": "what is large"})
        if self.failure:
            raise self.failure
        made = built(site.options.output / site.label, root_size=self.root_size)
        pipeline.hold_to_budgets(site.definition, site.options, site.out, made)
        return made


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def built(folder: Path, root_size: int = 1) -> Build:
    return Build(folder, Version((1,)), "ab", root_size, 2, 3, 4, LOCK)


def left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_build_lies_under_its_name_and_nothing_else_is_left(
    definition: Definition, options: Options, reporter: Reporter, site: Site
) -> None:
    made = build(definition, options, reporter)
    assert made.folder == options.output / "bedplate_1"
    assert left(options.output) == {"bedplate_1", "bedplate_1/root.wire", "bedplate_1/sizes.txt"}
    assert left(options.cache) == {"work"}
    site.content = "second"
    build(definition, options, reporter)
    assert (made.folder / "root.wire").read_text() == "second"
    assert left(options.output) == {"bedplate_1", "bedplate_1/root.wire", "bedplate_1/sizes.txt"}


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), OSError(28, "full"), SystemExit(1)])
def test_what_is_interrupted_leaves_the_build_before_it(
    definition: Definition,
    options: Options,
    reporter: Reporter,
    site: Site,
    failure: BaseException,
) -> None:
    site.failure = failure
    with pytest.raises(type(failure)):
        build(definition, options, reporter)
    assert not options.output.exists()
    site.failure = None
    build(definition, options, reporter)
    site.failure, site.content = failure, "torn"
    with pytest.raises(type(failure)):
        build(definition, options, reporter)
    assert (options.output / "bedplate_1/root.wire").read_text() == "first"
    assert left(options.cache) == {"work"}


def test_an_interrupted_copy_leaves_nothing_under_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = plant(tmp_path / "cache/out", {"one": "1", "two": "2"})
    plant(tmp_path / "build/bedplate_1", {"one": "before"})

    def copy_half(source: Path, target: Path, **_: object) -> None:
        # What a move to another file system does, up to where it is interrupted.
        target.mkdir()
        shutil.copyfile(source / "one", target / "one")
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", copy_half)
    with pytest.raises(KeyboardInterrupt):
        put(made, tmp_path / "build/bedplate_1")
    assert left(tmp_path / "build") == {"bedplate_1", "bedplate_1/one"}
    assert (tmp_path / "build/bedplate_1/one").read_text() == "before"


@pytest.mark.parametrize("what", ["one", "."])
def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    made = plant(tmp_path / "cache/out", {"one": "1", "two": "2"})

    def other_file_system(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def full(*_: object, **_kind: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", other_file_system)
    monkeypatch.setattr(shutil, "copy2", full)
    final = tmp_path / "build/x"
    with pytest.raises(BedplateError) as caught:
        put(made / what, final)
    assert str(caught.value).startswith(f"{final}: cannot be written: No space left on device")
    assert left(tmp_path / "build") == set()


def test_a_file_takes_the_place_of_a_file_and_a_folder_of_a_folder(tmp_path: Path) -> None:
    for content in ("1", "2"):
        plant(tmp_path / "work", {"x.raw": content, f"folder/{content}": ""})
        put(tmp_path / "work/x.raw", tmp_path / "new/x.raw")
        put(tmp_path / "work/folder", tmp_path / "new/folder")
    assert left(tmp_path / "new") == {"x.raw", "folder", "folder/2"}
    assert (tmp_path / "new/x.raw").read_text() == "2"


def test_nobodys_umask_reaches_an_image(
    definition: Definition, options: Options, reporter: Reporter, site: Site
) -> None:
    before = os.umask(0o077)
    try:
        build(definition, options, reporter)
        assert site.umask == 0o022
        with pytest.raises(RuntimeError), fixed_umask():
            raise RuntimeError
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)


def test_what_is_over_its_budget_is_said_with_sizes() -> None:
    made = replace(built(Path("x")), root_size=3 * MIB, uki_size=41 * MIB, wire_size=9)
    budgets = Budgets(root=2 * MIB, initrd=2, uki=40 * MIB)
    assert over_budget(budgets, made) == [
        "the root has 3.0 MiB, its budget is 2.0 MiB",
        "the UKI has 41.0 MiB, its budget is 40.0 MiB",
    ]
    assert over_budget(Budgets(), made) == []
    assert over_budget(Budgets(wire=9), made) == []
    assert over_budget(Budgets(wire=8), made) == ["the wire has 9 B, its budget is 8 B"]


def test_a_build_over_its_budget_leaves_the_list_of_sizes_and_no_release(
    definition: Definition, options: Options, reporter: Reporter, site: Site
) -> None:
    site.root_size = 2 * MIB
    with pytest.raises(BudgetError) as caught:
        build(definition, options, reporter)
    sizes = options.output / "bedplate_1.sizes.txt"
    assert str(caught.value) == (
        f"the root has 2.0 MiB, its budget is 1.0 MiB; see {sizes} for what to prune"
    )
    assert sizes.read_text() == "what is large"
    assert left(options.output) == {"bedplate_1.sizes.txt"}


def test_a_second_build_is_from_the_lock_and_packs_anew(
    definition: Definition, options: Options, reporter: Reporter, site: Site
) -> None:
    assert build_twice(definition, options, reporter).folder == options.output / "bedplate_1"
    first, second = site.options
    assert (first.lock, first.packed_again) == (None, False)
    assert (second.lock, second.packed_again) == (LOCK, True)
    here, there = site.works
    assert here.parent == options.cache / "work"
    assert len(str(there)) > len(str(here))
    assert second.output not in (first.output, here, there)
    assert left(options.cache) == {"work", "rebuilds"}


def test_what_a_killed_build_left_is_gone_after_the_next(
    definition: Definition, options: Options, reporter: Reporter, site: Site
) -> None:
    plant(options.cache, {"work/killed/root/etc/passwd": "", "rebuilds/killed/out/root.wire": ""})
    build_twice(definition, options, reporter)
    assert len(site.works) == 2
    assert left(options.cache) == {"work", "rebuilds"}


def test_two_builds_that_differ_are_an_error(
    definition: Definition,
    options: Options,
    reporter: Reporter,
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = site._assemble

    def assemble(where: pipeline._Site, to: Reporter) -> Build:
        made = real(where, to)
        site.content = "fiRst"
        return made

    monkeypatch.setattr(pipeline, "_assemble", assemble)
    with pytest.raises(DifferenceError, match=r"1 of 2 .*\n  root\.wire: first at byte 2$"):
        build_twice(definition, options, reporter)
    assert left(options.cache) == {"work", "rebuilds"}
