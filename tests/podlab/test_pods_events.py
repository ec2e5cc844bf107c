"""Podman's events file, written by podman itself."""

from pathlib import Path

from pods import FOREVER, instance

from network import run, wait_for
from podagent.actions import Play, RemovePod, StopContainer
from podagent.events import PATH, Event, Events, What
from podagent.podman import Podman


def _seen(events: Events, wanted: What, container: str) -> Event:
    """Wait until it is told, as the agent waits."""
    found: list[Event] = []

    def told() -> bool:
        events.wait(0.1)
        found.extend(each for each in events.read().events if each.what is wanted)
        return any(each.container == container for each in found)

    wait_for(told, f"{container} {wanted}")
    return next(each for each in found if each.container == container)


def test_what_happens_to_a_pod_is_told(podman: Podman) -> None:
    assert PATH.exists()
    with Events() as events:
        assert events.read().missed
        podman.apply(Play(instance("web", {"main": ("sh", "-c", "exit 7"), "side": FOREVER})))
        died = _seen(events, What.DIED, "web-main")
        assert (died.pod, died.exit_code) == ("web", 7)
        podman.apply(StopContainer("web", "side", 0, "a test"))
        assert _seen(events, What.DIED, "web-side").exit_code == 137
        podman.apply(RemovePod("web"))
        assert _seen(events, What.REMOVE, "").pod == "web"


def test_a_file_that_podman_begins_anew_is_followed(podman: Podman, tmp_path: Path) -> None:
    settings = Path("/etc/containers/containers.conf.d/95-small.conf")
    path = tmp_path / "events/events.log"
    settings.write_text(
        f'[engine]\nevents_logfile_path = "{path}"\nevents_logfile_max_size = "16k"\n'
    )
    try:
        with Events(path) as events:
            events.read()
            podman.apply(Play(instance("web", {"main": FOREVER, "side": FOREVER})))
            _seen(events, What.START, "web-main")
            first = path.stat().st_ino
            happened = [events.read()]
            while path.stat().st_ino == first:
                run(["podman", "restart", "--time", "0", "web-main"])
                happened.append(events.read())
            happened.append(events.read())
            assert any(each.missed for each in happened)
            podman.apply(StopContainer("web", "main", 0, "a test"))
            _seen(events, What.DIED, "web-main")
    finally:
        settings.unlink()
