import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from build_kit import elf, names, plant, readelf, tools
from builder.definition.load import load
from builder.definition.model import Initrd
from builder.steps.initrd import InitrdError, gather, lay_over, pack
from builder.steps.kernel import KernelError

HOME = "usr/lib/modules/6.12"
LIBRARY = "usr/lib/x86_64-linux-gnu/libc.so.6"
ROOT: dict[str, str | bytes] = {
    "bin": "-> usr/bin",
    "usr/bin/mount": elf("libc.so.6"),
    "usr/bin/other": elf("libother.so"),
    "usr/sbin/modprobe": "-> ../bin/kmod",
    "usr/bin/kmod": elf(),
    LIBRARY: elf(),
    "usr/lib/x86_64-linux-gnu/libother.so": elf(),
    "etc/passwd": "root",
    "etc/resolv.conf": "-> ../run/resolv.conf",
    "usr/lib/rules": "-> rules.d",
    "usr/lib/rules.d/50-x.rules": "",
    f"{HOME}/kernel/md.ko": "module",
    f"{HOME}/kernel/bufio.ko": "module",
    f"{HOME}/kernel/fs.ko": "module",
    f"{HOME}/modules.dep": "kernel/md.ko: kernel/bufio.ko\nkernel/bufio.ko:\nkernel/fs.ko:\n",
    f"{HOME}/modules.order": "",
    f"{HOME}/modules.builtin": "kernel/virtio.ko\n",
    f"{HOME}/modules.builtin.modinfo": "",
}
LISTS = {f"{HOME}/modules.{name}" for name in ("order", "builtin", "builtin.modinfo")}
MERGED = {"bin", "sbin", "lib", "lib64"}


def gathered(folder: Path, wanted: Initrd) -> set[str]:
    root, target = plant(folder / "root", ROOT), folder / "initrd"
    fake = tools(readelf)
    gather(root, target, fake, wanted)
    assert fake.asked[-1] == ["depmod", "--basedir", str(target), "6.12"]
    return names(target) - LISTS - MERGED


def test_programs_come_with_libraries_and_modules_with_modules(tmp_path: Path) -> None:
    wanted = Initrd(modules=("md",), programs=("usr/bin/mount",), files=("etc/passwd",))
    assert gathered(tmp_path, wanted) == {
        "usr/bin/mount",
        LIBRARY,
        "etc/passwd",
        f"{HOME}/kernel/md.ko",
        f"{HOME}/kernel/bufio.ko",
    }
    assert {str((tmp_path / "initrd" / name).readlink()) for name in MERGED} == {
        f"usr/{name}" for name in MERGED
    }
    assert (tmp_path / "initrd/sysroot").is_dir()


def test_a_link_comes_with_what_it_leads_to(tmp_path: Path) -> None:
    wanted = Initrd(files=("usr/sbin/modprobe",))
    assert gathered(tmp_path, wanted) == {"usr/sbin/modprobe", "usr/bin/kmod"}


def test_a_link_out_of_the_tree_or_to_a_folder_is_a_link_still(tmp_path: Path) -> None:
    wanted = Initrd(files=("etc/resolv.conf", "usr/lib/rules"))
    assert gathered(tmp_path, wanted) == {"etc/resolv.conf", "usr/lib/rules"}


def test_only_built_in_modules_are_fine(tmp_path: Path) -> None:
    assert gathered(tmp_path, Initrd(modules=("virtio",))) == set()


def test_what_is_not_in_the_packages_is_named(tmp_path: Path) -> None:
    wanted = Initrd(programs=("usr/bin/mont", "usr/bin/mount"), files=("etc/none*",))
    with pytest.raises(InitrdError, match=r"matches usr/bin/mont, etc/none\*$"):
        gathered(tmp_path, wanted)
    with pytest.raises(KernelError, match="matches nodule"):
        gathered(tmp_path / "again", Initrd(modules=("nodule",)))


def test_it_is_an_initrd_to_systemd_and_the_same_for_every_version(tmp_path: Path) -> None:
    said = []
    for version in ("1", "2"):
        definition = tmp_path / f"{version}.yaml"
        definition.write_text(
            f"name: host\nversion: {version}\n"
            "initrd: {wanted: {sysinit.target: [systemd-udevd.service]}}\n"
        )
        units = "usr/lib/systemd/system"
        target = plant(tmp_path / version, {f"{units}/default.target": "-> x", "etc/x": ""})
        lay_over(target, load(definition))
        assert str((target / "init").readlink()) == "usr/lib/systemd/systemd"
        assert str((target / f"{units}/default.target").readlink()) == "initrd.target"
        assert (target / f"{units}/sysinit.target.wants/systemd-udevd.service").is_symlink()
        said.append((target / "etc/initrd-release").read_text())
    assert said[0] == said[1]


def packing(command: Sequence[str]) -> str:
    """cpio(1) and zstd(1), as far as a test can do without them."""
    if command[0] == "cpio":
        [file] = [word for word in command if word.startswith("--file=")]
        Path(file.removeprefix("--file=")).write_bytes(b"archive")
    if command[0] == "zstd":
        Path(command[-1]).write_bytes(b"packed " + Path(command[-3]).read_bytes())
    return ""


def test_an_archive_is_packed_in_a_fixed_order_with_fixed_times(tmp_path: Path) -> None:
    odd = os.fsdecode(b"not-\xff-utf8")
    target = plant(tmp_path / "initrd", {"b": "", "a/x": "", "link": "-> nowhere", odd: ""})
    fake = tools(packing)
    packed = pack(target, fake, 1700000000, cache=None)
    assert packed.read_bytes() == b"packed archive"
    fed = fake.fed[0]
    assert fed is not None
    assert fed == b"\0".join([b".", b"a", b"a/x", b"b", b"link", b"not-\xff-utf8", b""])
    for path in target.rglob("*"):
        assert path.lstat().st_mtime == 1700000000
    assert {"--reproducible", "--owner=+0:+0", "--null"} <= set(fake.asked[0])


def test_a_packed_archive_is_kept_and_used_again(tmp_path: Path) -> None:
    target, cache = plant(tmp_path / "initrd", {"a": ""}), tmp_path / "cache"
    first, second, third = tools(packing), tools(packing), tools(packing)
    packed = pack(target, first, 1, cache=cache).read_bytes()
    assert pack(target, second, 1, cache=cache).read_bytes() == packed
    assert [command[0] for command in first.asked] == ["cpio", "zstd"]
    assert [command[0] for command in second.asked] == ["cpio"]
    pack(target, third, 1, cache=None)
    assert [command[0] for command in third.asked] == ["cpio", "zstd"]
