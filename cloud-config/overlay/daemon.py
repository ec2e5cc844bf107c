"""`bedplate-overlayd`: keeps this host in the overlay network until SIGTERM."""

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from overlay.agent import Agent
from overlay.places import Places
from updater.errors import run_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; 0 after it, or when the cloud-config asks for no overlay any more."""
    parser = argparse.ArgumentParser(
        prog="bedplate-overlayd", description="Keeps this host in the overlay network."
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's files are (for tests)"
    )
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    agent = Agent(Places(arguments.root))
    for number in (signal.SIGTERM, signal.SIGINT):
        # A SimpleQueue may be filled from a signal's handler, in the midst of anything.
        signal.signal(number, lambda *_: agent.stop())
    return run_main(agent.run)


if __name__ == "__main__":
    sys.exit(main())
