"""`bedplate-podsd`: keeps the pods that are declared for this host running, until SIGTERM."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from podagent.agent import Agent, Join
from podagent.cluster.part import Part
from podagent.cluster.settings import load
from podagent.events import Events
from podagent.places import Places
from podagent.podman import Podman
from updater.errors import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM, and leave the pods as they are; 0 after it."""
    parser = argparse.ArgumentParser(
        prog="bedplate-podsd", description="Keeps this host's pods as they are declared."
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's files are (for tests)"
    )
    places = Places(parser.parse_args(argv).root)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)

    return run_main(lambda: keep(places, _join(places)))


def keep(places: Places, join: Join | None) -> int:
    """Keep this host's pods until SIGTERM; 0 after it.

    Raises:
        BedplateError: the host cannot be kept, for its settings are wrong or a file is missing.
    """
    with Events() as events:
        podman = Podman(places.playing)
        podman.services = join is not None
        agent = Agent(places, podman, events, join)
        for number in (signal.SIGTERM, signal.SIGINT):
            # A SimpleQueue may be filled from a signal's handler, in the midst of anything.
            signal.signal(number, lambda *_: agent.stop())
        return agent.run()


def _join(places: Places) -> Join | None:
    settings = load(places)
    return None if settings is None else partial(Part, settings, places)


if __name__ == "__main__":
    sys.exit(main())
