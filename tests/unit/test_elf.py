from pathlib import Path

from build_kit import elf, plant, readelf, tools
from builder.steps.elf import is_elf, library_closure, needed_libraries
from builder.steps.tree import entries

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def test_only_regular_files_that_start_so_are_elf(tmp_path: Path) -> None:
    plant(tmp_path, {"elf": elf(), "short": b"\x7fEL", "script": "#!/bin/sh", "link": "-> elf"})
    (tmp_path / "folder").mkdir()
    found = {path.name for path in tmp_path.iterdir() if is_elf(path)}
    assert found == {"elf"}


def test_sonames_are_read_of_every_elf_file(tmp_path: Path) -> None:
    plant(tmp_path, {"one": elf("libc.so.6", "libm.so.6"), "none": elf(), "text": "x"})
    found = needed_libraries(tools(readelf), entries(tmp_path))
    assert found == {
        tmp_path / "one": {"libc.so.6", "libm.so.6"},
        tmp_path / "none": frozenset(),
    }


def test_one_file_is_named_in_readelfs_output_too(tmp_path: Path) -> None:
    plant(tmp_path, {"one": elf("libc.so.6")})
    fake = tools(readelf)
    assert needed_libraries(fake, [tmp_path / "one"]) == {tmp_path / "one": {"libc.so.6"}}
    assert fake.asked == [["readelf", "--wide", "--dynamic", "/bin/true", str(tmp_path / "one")]]


def test_a_command_line_does_not_grow_without_end(tmp_path: Path) -> None:
    plant(tmp_path, {f"{number:04}": elf("liba.so") for number in range(1001)})
    fake = tools(readelf)
    found = needed_libraries(fake, entries(tmp_path))
    assert len(found) == 1001
    assert set(found.values()) == {frozenset({"liba.so"})}
    assert [len(command) - 4 for command in fake.asked] == [500, 500, 1]


def test_nothing_to_read_asks_nothing(tmp_path: Path) -> None:
    fake = tools(readelf)
    assert needed_libraries(fake, entries(tmp_path)) == {}
    assert fake.asked == []


def closure(tree: Path, *roots: str) -> set[str]:
    needed = needed_libraries(tools(readelf), entries(tree))
    found = library_closure(tree, [tree / root for root in roots], needed)
    return {str(path.relative_to(tree)) for path in found}


def test_libraries_of_libraries_with_every_link_to_them(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "usr/bin/tool": elf("liba.so.1"),
            f"{LIBRARIES}/liba.so.1": "-> liba.so.1.2",
            f"{LIBRARIES}/liba.so.1.2": "-> liba.so.1.2.3",
            f"{LIBRARIES}/liba.so.1.2.3": elf("libprivate.so"),
            "usr/lib/systemd/libprivate.so": elf("liba.so.1"),
            f"{LIBRARIES}/libunused.so.1": elf(),
        },
    )
    assert closure(tmp_path, "usr/bin/tool") == {
        f"{LIBRARIES}/liba.so.1",
        f"{LIBRARIES}/liba.so.1.2",
        f"{LIBRARIES}/liba.so.1.2.3",
        "usr/lib/systemd/libprivate.so",
    }


def test_a_link_to_a_program_needs_what_the_program_needs(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "usr/bin/link": "-> /etc/alternatives/tool",
            "etc/alternatives/tool": "-> /usr/bin/tool",
            "usr/bin/tool": elf("liba.so.1"),
            f"{LIBRARIES}/liba.so.1": elf(),
        },
    )
    assert closure(tmp_path, "usr/bin/link") == {
        "etc/alternatives/tool",
        "usr/bin/tool",
        f"{LIBRARIES}/liba.so.1",
    }


def test_the_loader_always_stays(tmp_path: Path) -> None:
    loader = f"{LIBRARIES}/ld-linux-x86-64.so.2"
    plant(tmp_path, {loader: elf(), "usr/lib64/ld-linux-x86-64.so.2": f"-> /{loader}"})
    assert closure(tmp_path) == {loader, "usr/lib64/ld-linux-x86-64.so.2"}


def test_a_tree_that_is_itself_reached_by_a_link(tmp_path: Path) -> None:
    plant(
        tmp_path / "real",
        {
            "usr/bin/tool": elf("liba.so.1"),
            f"{LIBRARIES}/liba.so.1": "-> liba.so.1.2",
            f"{LIBRARIES}/liba.so.1.2": elf("libb.so.1"),
            f"{LIBRARIES}/libb.so.1": elf(),
        },
    )
    (tmp_path / "tree").symlink_to("real")
    assert f"{LIBRARIES}/libb.so.1" in closure(tmp_path / "tree", "usr/bin/tool")
