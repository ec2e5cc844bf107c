"""The workstation's program imports what it needs, and knows every command."""

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from builder import cli


@pytest.mark.parametrize("area", sorted(cli.AREAS))
def test_an_area_has_the_commands_that_it_is_said_to_have(area: str) -> None:
    commands = argparse.ArgumentParser().add_subparsers()
    import_module(area).add_commands(commands)
    assert tuple(commands.choices) == cli.AREAS[area]


def test_a_command_imports_nothing_of_the_others() -> None:
    code = "import sys; from builder import cli; cli.parser('host'); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    found = set(done.stdout.split())
    assert "builder.host_cli" in found
    assert not found & {"requests", "rich", "yaml", "cryptography", "aiohttp", "builder.host.run"}


def test_who_asks_for_no_command_sees_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    shown = capsys.readouterr().out.split()
    assert {each for names in cli.AREAS.values() for each in names} <= set(shown)
