import json
from pathlib import Path

import pytest

from builder.vm import accelerator as subject
from builder.vm.accelerator import accelerator, remembered
from builder.vm.config import Accelerator
from updater.errors import InputError


class Probe:
    def __init__(self, *, works: bool) -> None:
        self.works = works
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.works


@pytest.mark.parametrize(("works", "answer"), [(True, Accelerator.KVM), (False, Accelerator.TCG)])
def test_the_probe_is_asked_once_and_believed(
    tmp_path: Path,
    works: bool,  # noqa: FBT001 - a column of the table
    answer: Accelerator,
) -> None:
    probe = Probe(works=works)
    cache = tmp_path / "not yet there"
    assert [remembered(cache, "this host", probe) for _ in range(3)] == [answer] * 3
    assert probe.asked == 1


def test_another_kernel_or_qemu_is_probed_anew(tmp_path: Path) -> None:
    assert remembered(tmp_path, "linux 1; qemu 10", Probe(works=False)) is Accelerator.TCG
    assert remembered(tmp_path, "linux 2; qemu 10", Probe(works=True)) is Accelerator.KVM
    assert remembered(tmp_path, "linux 1; qemu 10", None) is Accelerator.TCG


def test_without_a_kernel_to_probe_by_nothing_is_risked_and_nothing_kept(tmp_path: Path) -> None:
    assert remembered(tmp_path, "this host", None) is Accelerator.TCG
    assert list(tmp_path.iterdir()) == []
    assert remembered(tmp_path, "this host", Probe(works=True)) is Accelerator.KVM
    assert remembered(tmp_path, "this host", None) is Accelerator.KVM


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"accelerator": "warp"}', "\x00\x80"])
def test_a_damaged_answer_is_asked_for_again(tmp_path: Path, damage: str) -> None:
    remembered(tmp_path, "this host", Probe(works=False))
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(damage.encode("latin-1"))
    assert remembered(tmp_path, "this host", Probe(works=True)) is Accelerator.KVM
    assert json.loads(kept.read_text())["accelerator"] == "kvm"


@pytest.mark.parametrize("wanted", list(Accelerator))
def test_the_environment_overrides_everything(tmp_path: Path, wanted: Accelerator) -> None:
    environment = {"BEDPLATE_ACCEL": str(wanted)}
    assert accelerator(tmp_path, None, tmp_path, environment) is wanted


def test_an_unknown_override_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="BEDPLATE_ACCEL=hvf: expected kvm or tcg"):
        accelerator(tmp_path, None, tmp_path, {"BEDPLATE_ACCEL": "hvf"})


def test_a_machine_without_kvm_is_not_probed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "KVM_DEVICE", tmp_path / "kvm")
    assert accelerator(tmp_path, tmp_path / "vmlinuz", tmp_path, {}) is Accelerator.TCG
    assert list(tmp_path.iterdir()) == []
