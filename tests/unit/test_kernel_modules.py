from collections.abc import Sequence
from pathlib import Path

import pytest

from build_kit import Tools, names, plant, tools
from builder.steps.kernel import KernelError, keep_modules, kernel_version, select, take_kernel

RELEASE = "6.12.1-cloud-amd64"
HOME = f"usr/lib/modules/{RELEASE}"
# As depmod(8) writes it: all that a module needs, not only what it names.
DEPENDENCIES = """\
kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/fs/mbcache.ko.xz
kernel/fs/jbd2/jbd2.ko.xz:
kernel/fs/mbcache.ko.xz:
kernel/drivers/md/dm-verity.ko.xz: kernel/drivers/md/dm-bufio.ko.xz
kernel/drivers/md/dm-bufio.ko.xz:
kernel/drivers/net/virtio_net.ko.xz:
kernel/drivers/net/ethernet/intel/e1000.ko.xz:
"""
BUILT_IN = "kernel/drivers/virtio/virtio_pci.ko\nkernel/lib/crc32.ko\n"


def plant_kernel(tree: Path) -> Path:
    modules = {f"{HOME}/{line.partition(':')[0]}": "packed" for line in DEPENDENCIES.splitlines()}
    lists = {f"{HOME}/modules.dep": DEPENDENCIES, f"{HOME}/modules.builtin": BUILT_IN}
    return plant(tree, {**modules, **lists, f"boot/vmlinuz-{RELEASE}": "bzImage"})


def chosen(tree: Path, *patterns: str) -> set[str]:
    found = select(plant_kernel(tree) / HOME, patterns)
    return {path.removeprefix("kernel/").removesuffix(".ko.xz") for path in found}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("ext4", {"fs/ext4/ext4", "fs/jbd2/jbd2", "fs/mbcache"}),
        ("dm_verity", {"drivers/md/dm-verity", "drivers/md/dm-bufio"}),
        ("dm-verity", {"drivers/md/dm-verity", "drivers/md/dm-bufio"}),
        ("virtio-*", {"drivers/net/virtio_net"}),
        ("virtio_*", {"drivers/net/virtio_net"}),
        ("drivers/net/**", {"drivers/net/virtio_net", "drivers/net/ethernet/intel/e1000"}),
        ("kernel/drivers/net/*", {"drivers/net/virtio_net"}),
        ("drivers/net/*", {"drivers/net/virtio_net"}),
        ("crc32", set()),
    ],
)
def test_modules_come_by_name_or_path_with_what_they_need(
    tmp_path: Path, pattern: str, expected: set[str]
) -> None:
    assert chosen(tmp_path, pattern) == expected


def test_a_name_is_not_looked_for_in_paths(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"matches md$"):
        chosen(tmp_path, "md")


def test_every_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        chosen(tmp_path, "ext5", "ext4", "drivers/none/**", "crc32")
    assert str(caught.value) == "no module of this kernel matches ext5, drivers/none/**"


def test_nothing_is_chosen_by_no_pattern(tmp_path: Path) -> None:
    assert chosen(tmp_path) == set()


def xz(command: Sequence[str]) -> str:
    if command[0] == "xz":
        for name in command[2:]:
            Path(name).rename(name.removesuffix(".xz"))
    return ""


def test_other_modules_go_and_the_rest_is_unpacked_and_indexed(tmp_path: Path) -> None:
    fake = tools(xz)
    keep_modules(plant_kernel(tmp_path), fake, ["ext4"])
    left = {name.removeprefix(f"{HOME}/") for name in names(tmp_path) if ".ko" in name}
    assert left == {
        "kernel/fs/ext4/ext4.ko",
        "kernel/fs/jbd2/jbd2.ko",
        "kernel/fs/mbcache.ko",
    }
    assert [command[0] for command in fake.asked] == ["xz", "depmod"]
    assert fake.asked[-1] == ["depmod", "--basedir", str(tmp_path), RELEASE]


def test_without_modules_xz_is_not_left_waiting_for_its_stdin(tmp_path: Path) -> None:
    fake: Tools = tools(xz)
    keep_modules(plant_kernel(tmp_path), fake, ["crc32"])
    assert [command[0] for command in fake.asked] == ["depmod"]
    assert not [name for name in names(tmp_path) if ".ko" in name]


def test_one_kernel_is_expected(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="expected one kernel in the image, found none"):
        kernel_version(tmp_path)
    plant_kernel(tmp_path)
    assert kernel_version(tmp_path) == RELEASE
    (tmp_path / "usr/lib/modules/6.13").mkdir()
    with pytest.raises(KernelError, match=r"found \['6\.12\.1-cloud-amd64', '6\.13'\]"):
        kernel_version(tmp_path)


def test_the_kernel_is_that_of_the_modules(tmp_path: Path) -> None:
    plant_kernel(tmp_path / "tree")
    plant(tmp_path / "tree", {"boot/vmlinuz-5.0": "old"})
    take_kernel(tmp_path / "tree", tmp_path / "vmlinuz")
    assert (tmp_path / "vmlinuz").read_text() == "bzImage"
