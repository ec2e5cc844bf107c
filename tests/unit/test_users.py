"""System users of an image: only the command that makes them is ours."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.run import Sandbox
from builder.steps.users import make_users


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[str], dict[str, str]]]:
    found: list[tuple[Sequence[str], dict[str, str]]] = []

    def note(self: Sandbox, command: Sequence[str]) -> str:
        found.append((command, dict(self.env)))
        return ""

    monkeypatch.setattr(Sandbox, "run", note)
    return found


def test_a_tree_without_users_of_its_own_is_left_alone(
    tmp_path: Path, commands: list[tuple[Sequence[str], dict[str, str]]]
) -> None:
    make_users(tmp_path, Sandbox(tmp_path), 7)
    assert commands == []


def test_users_are_made_at_the_time_of_the_build_and_no_backup_stays(
    tmp_path: Path, commands: list[tuple[Sequence[str], dict[str, str]]]
) -> None:
    folder = tmp_path / "usr/lib/sysusers.d"
    folder.mkdir(parents=True)
    (folder / "bedplate.conf").write_text('u bedplate-api 880 "Bedplate API"\n')
    backup = tmp_path / "etc/shadow-"
    backup.parent.mkdir()
    backup.touch()
    make_users(tmp_path, Sandbox(tmp_path), 7)
    argv = ["systemd-sysusers", f"--root={tmp_path}", "bedplate.conf"]
    assert commands == [(argv, {"SOURCE_DATE_EPOCH": "7"})]
    assert not backup.exists()
