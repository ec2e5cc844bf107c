"""`bedplate-podsd`: keeps the pods that are declared for this host running, until SIGTERM."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from podagent.agent import Agent
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

    def work() -> int:
        with Events() as events:
            agent = Agent(places, Podman(places.playing), events)
            for number in (signal.SIGTERM, signal.SIGINT):
                # A SimpleQueue may be filled from a signal's handler, in the midst of anything.
                signal.signal(number, lambda *_: agent.stop())
            return agent.run()

    return run_main(work)


if __name__ == "__main__":
    sys.exit(main())
