"""What `make` calls to set up a machine can be interrupted, and goes on when it is run again."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from build_kit import plant
from config_documents import ROOT

# In place of `bedplate`: each of its commands says what it was asked, and does its work only when
# it is not to be interrupted.
BEDPLATE = """#!/bin/bash
echo "$1 $2" >> asked
case "$1" in
    keygen) touch keys/root-1.pem ;;
    release) mkdir -p repository/metadata ;;
esac
[ ! -e "interrupt-$1" ] || kill -TERM $$
case "$1" in
    keygen) touch keys/root-1.pub ;;
    release) touch repository/metadata/timestamp.json ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    for name in ("own-keys", "setup"):
        shutil.copy(ROOT / "tools" / name, tmp_path / "tools" / name)
    return plant(tmp_path, {".venv/bin/bedplate": BEDPLATE, "asked": ""})


def run(project: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "tools" / name],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, **environment},
    )


def asked(project: Path) -> list[str]:
    words = (project / "asked").read_text().splitlines()
    (project / "asked").write_text("")
    return words


@pytest.mark.parametrize("command", ["keygen", "release"])
def test_own_keys_goes_on_where_it_was_interrupted(project: Path, command: str) -> None:
    (project / f"interrupt-{command}").touch()
    assert run(project, "own-keys").returncode != 0
    secret = (project / "keys/passphrase").read_text()
    (project / f"interrupt-{command}").unlink()
    assert run(project, "own-keys").returncode == 0
    assert (project / "keys/root-1.pub").exists()
    assert (project / "repository/metadata/timestamp.json").exists()
    assert (project / "keys/passphrase").read_text() == secret
    asked(project)
    assert run(project, "own-keys").returncode == 0
    assert "release init" not in asked(project)


def test_own_keys_makes_a_passphrase_if_that_was_interrupted(project: Path) -> None:
    plant(project, {"keys/.passphrase": ""})
    (project / "keys/.passphrase").chmod(0o600)
    assert run(project, "own-keys").returncode == 0
    passphrase = project / "keys/passphrase"
    assert len(passphrase.read_text().strip()) == 32
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert asked(project) == ["keygen --keys", "release init"]


def test_own_keys_leaves_keys_alone_whose_passphrase_it_does_not_have(project: Path) -> None:
    plant(project, {"keys/root-1.pub": "", "repository/metadata/timestamp.json": ""})
    assert run(project, "own-keys").returncode == 0
    assert asked(project) == []
    assert [path.name for path in (project / "keys").iterdir()] == ["root-1.pub"]


def test_setup_makes_a_venv_whole_that_was_interrupted(project: Path) -> None:
    # All packages are there, and user namespaces work.
    plant(project, {"bin/dpkg-query": "#!/bin/sh\necho install ok installed\n"})
    plant(project, {"bin/bwrap": "#!/bin/sh\n", "bin/id": "#!/bin/sh\necho 0\n"})
    (project / ".venv/bin/python").symlink_to("/usr/bin/python3")
    path = f"{project}/bin:{os.environ['PATH']}"
    # There is nothing here to install, and nothing is asked for from elsewhere.
    done = run(project, "setup", PATH=path, PIP_NO_INDEX="1")
    assert "does not appear to be a Python project" in done.stderr
    assert (project / ".venv/bin/pip").exists()
