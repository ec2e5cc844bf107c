"""Emptying /var: the variable, the table, and what a power cut leaves."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_kit import Machine, machine, quick_path
from storage_samples import disk_image
from updater import cli, efivars, gpt, partitions, wipe
from updater.slots import ESP, ROOT, ROOT_VERITY, VAR, VAR_LABEL
from updater.wipe import WipeError

__all__ = ["machine", "quick_path"]

KINDS = (ESP, ROOT, ROOT_VERITY, ROOT, ROOT_VERITY, VAR)
VARIABLE = f"sys/firmware/efi/efivars/{efivars.FACTORY_RESET}"


class CutError(BaseException):
    """The power is gone."""


@pytest.fixture
def host(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """With a /var, and with a firmware that keeps variables."""
    root_hash = machine.context().running.root_hash
    machine.disk.write_bytes(disk_image(root_hash, sector=4096, kinds=KINDS))
    table = gpt.read(machine.disk)
    unique = table.entries[5].unique
    gpt.write(machine.disk, table.replace(6, label=VAR_LABEL, unique=unique))
    (machine.folder / VARIABLE).parent.mkdir(parents=True)
    monkeypatch.setattr("updater.slots.find_disk", lambda *_args: machine.disk)
    monkeypatch.setattr(partitions, "forget", lambda _disk, _number: None)
    return machine


def numbers(host: Machine) -> list[int]:
    return [each.number for each in gpt.read(host.disk).entries]


def test_asked_for_and_done(host: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    before = gpt.read(host.disk).entries
    wipe.ask(host.context())
    assert (host.folder / VARIABLE).read_bytes() == b"\x07\0\0\0" + "yes\0".encode("utf-16-le")
    assert gpt.read(host.disk).entries == before
    assert cli.main(["wipe"], host.paths) == 0
    assert "partition 6 of" in capsys.readouterr().out
    assert gpt.read(host.disk).entries == before[:5]
    assert not (host.folder / VARIABLE).exists()
    assert wipe.take(host.context()) == "nobody asked for an empty /var"


def test_asking_twice_is_asking_once(host: Machine) -> None:
    wipe.ask(host.context())
    wipe.ask(host.context())
    assert efivars.reset_asked(host.folder)


def test_a_boot_that_was_not_asked_touches_nothing(host: Machine) -> None:
    wipe.take(host.context())
    assert 6 in numbers(host)


def test_without_a_var_of_ours_it_is_refused_before_anything(host: Machine) -> None:
    table = gpt.read(host.disk)
    gpt.write(host.disk, table.replace(6, label="data", unique=table.entries[5].unique))
    with pytest.raises(WipeError, match="no one partition bedplate_var"):
        wipe.ask(host.context())
    assert not (host.folder / VARIABLE).exists()


def test_a_firmware_without_variables_is_told(host: Machine) -> None:
    (host.folder / VARIABLE).parent.rmdir()
    with pytest.raises(WipeError, match="does not keep FactoryReset-8cf2644b"):
        wipe.ask(host.context())


def test_a_variable_that_stays_keeps_var(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wipe.ask(host.context())

    def unlink(_path: Path, missing_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        del missing_ok
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(WipeError, match="emptied at every boot"):
        wipe.take(host.context())
    assert 6 in numbers(host)


def test_a_var_in_use_stays(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    wipe.ask(host.context())

    def busy(_disk: Path, _number: int) -> None:
        raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(partitions, "forget", busy)
    with pytest.raises(OSError, match="busy"):
        wipe.take(host.context())
    assert 6 in numbers(host)


@pytest.mark.parametrize("cut", range(6))
def test_a_power_cut_leaves_the_old_var_or_none(
    host: Machine, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    """Cut before each write to the disk and to the firmware, then boot again."""
    wipe.ask(host.context())
    before = gpt.read(host.disk).entries
    left = cut

    def counted(work: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **named: object) -> object:
            nonlocal left
            if left == 0:
                raise CutError
            left -= 1
            return work(*arguments, **named)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", counted(os.pwrite))
        patched.setattr(Path, "unlink", counted(Path.unlink))
        if cut < 5:
            with pytest.raises(CutError):
                wipe.take(host.context())
        else:
            wipe.take(host.context())
    found = gpt.read(host.disk).entries
    assert found in (before, before[:5])
    wipe.take(host.context())
    after = gpt.read(host.disk)
    assert after.entries in (before, before[:5])
    assert not efivars.reset_asked(host.folder)


@pytest.mark.parametrize(
    ("value", "asked"),
    [("yes\0", True), ("1", True), ("no\0", False), ("", False), ("\ud7ff", False)],
)
def test_the_variable_is_read_as_systemd_does(tmp_path: Path, value: str, *, asked: bool) -> None:
    path = tmp_path / VARIABLE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\x07\0\0\0" + value.encode("utf-16-le"))
    assert efivars.reset_asked(tmp_path) is asked


def test_the_kernel_is_told_by_the_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, bytes]] = []

    def ioctl(_descriptor: int, request: int, argument: bytes) -> bytes:
        told.append((request, argument))
        return argument

    monkeypatch.setattr("fcntl.ioctl", ioctl)
    disk = tmp_path / "vda"
    disk.touch()
    partitions.forget(disk, 6)
    ((request, argument),) = told
    assert request == 0x1269
    assert int.from_bytes(argument[:4], "little") == 2
    assert int.from_bytes(argument[8:12], "little") == 152


def test_what_is_no_disk_is_told(tmp_path: Path) -> None:
    disk = tmp_path / "vda"
    disk.touch()
    with pytest.raises(OSError, match="partition 6 stays"):
        partitions.forget(disk, 6)


def test_taking_out_what_is_not_there(host: Machine) -> None:
    with pytest.raises(gpt.GptError, match="partition 9 is not in the table"):
        gpt.read(host.disk).without(9)


def test_the_partition_is_the_one_that_a_first_boot_makes() -> None:
    repart = Path(__file__).parents[2] / "images/base/root/usr/lib/repart.d/40-var.conf"
    assert f"Type=var\nLabel={VAR_LABEL}\n" in repart.read_text()
