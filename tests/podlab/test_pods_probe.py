"""Probes of real containers, and programs run inside them."""

from pathlib import Path

import pytest
from pods import SERVER, instance, pod_of

from network import run, wait_for
from podagent.actions import Play
from podagent.inside import run_inside
from podagent.podman import Podman
from podagent.probe import Outcome, Target, ask
from podagent.types import Exec, Http, Tcp

_LONG = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the agent has its own files."""
    path = tmp_path / "own"
    path.mkdir()
    return path


@pytest.fixture
def target(podman: Podman) -> Target:
    """A web server's container."""
    settings = {"env": [{"name": "FROM_MANIFEST", "value": "yes"}]}
    podman.apply(Play(instance("web", {"main": SERVER}, each=settings)))
    (address,) = pod_of(podman, "web").addresses
    container = podman.container_id("web-main")
    assert container
    served = Http("/", 80, "http", None, ())
    wait_for(
        lambda: ask(served, Target(address, container), time_out=5, folder=Path("/run")).well,
        "it serves",
    )
    return Target(address, container)


def test_http_and_tcp(target: Target, folder: Path) -> None:
    def asked(action: Http | Tcp) -> Outcome:
        return ask(action, target, time_out=_LONG, folder=folder)

    assert asked(Tcp(80, None)) == Outcome(well=True)
    assert asked(Tcp(81, None)) == Outcome(well=False, why="Connection refused")
    assert asked(Http("/", 80, "http", None, ())) == Outcome(well=True)
    assert asked(Http("/none", 80, "http", None, ())) == Outcome(well=False, why="HTTP status 404")


def test_exec_runs_as_the_container_does(target: Target, folder: Path) -> None:
    def status(*argv: str) -> Outcome:
        return ask(Exec(argv), target, time_out=_LONG, folder=folder)

    assert status("cat", "/www/index.html") == Outcome(well=True)
    assert status("sh", "-c", "exit 3") == Outcome(well=False, why="sh ended with 3")
    assert status("sh", "-c", 'test "$FROM_MANIFEST" = yes').well
    assert not status("nonesuch").well
    assert list(folder.iterdir()) == []


def test_what_takes_too_long_is_ended_in_the_container(target: Target, folder: Path) -> None:
    def running() -> str:
        return run(["podman", "exec", "web-main", "ps"])

    argv = ("sleep", "31415")
    assert run_inside(target.container, argv, time_out=2, folder=folder) is None
    assert "31415" not in running()
    outcome = ask(Exec(("yes",)), target, time_out=2, folder=folder)
    assert outcome == Outcome(well=False, why="no answer within 2 s")
    assert "yes" not in running()
    assert list(folder.iterdir()) == []


def test_a_container_that_is_gone(folder: Path) -> None:
    gone = Target("10.88.255.254", "f" * 64)
    assert not ask(Exec(("true",)), gone, time_out=_LONG, folder=folder).well
