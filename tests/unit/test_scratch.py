"""Folders for what is half-done: when they go, and whose."""

import subprocess
import sys
from pathlib import Path

import pytest

from builder.scratch import scratch

# Makes a folder, says its name, and waits for what it does not get.
OTHER = """
import sys
from pathlib import Path
from builder.scratch import scratch
with scratch(Path(sys.argv[1]), "a-") as folder:
    (folder / "large").write_text("1")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("failure", [RuntimeError(), KeyboardInterrupt(), SystemExit(1)])
def test_a_folder_is_gone_whatever_happens(tmp_path: Path, failure: BaseException) -> None:
    def work() -> None:
        with scratch(tmp_path / "work") as folder:
            (folder / "file").write_text("1")
            raise failure

    with pytest.raises(type(failure)):
        work()
    assert list(tmp_path.rglob("*")) == [tmp_path / "work"]


def test_what_a_killed_run_left_goes_with_the_next_and_not_before(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", OTHER, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with scratch(tmp_path, "a-") as folder:
            assert left.parent == folder.parent == tmp_path
            assert (left / "large").exists()
        other.kill()
    assert (left / "large").exists()
    with scratch(tmp_path, "b-"):
        assert left.exists()
    with scratch(tmp_path, "a-"):
        assert not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_such_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("1")
    (tmp_path / "a-folder").mkdir()  # of a run that is about to lock it
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("1")
    before = sorted(tmp_path.rglob("*"))
    with scratch(tmp_path, "a-") as folder, scratch(folder, "a-") as inner:
        assert inner.parent == folder
    assert sorted(tmp_path.rglob("*")) == before
