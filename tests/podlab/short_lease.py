"""`bedplate-podsd` with a lease that is short enough to wait for its end in a test."""

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

from hostkit.timing import Timing
from podagent.cluster.part import Clock, Part
from podagent.cluster.settings import load
from podagent.daemon import keep
from podagent.places import Places

# A machine that stalls for some seconds fences, and no more: the margin is as long as the life.
CLOCK = Clock(Timing(ttl=24, margin=12, renewals=4), join=2.0)


def main() -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path)
    parser.add_argument("--host")
    options = parser.parse_args()
    places = Places(options.root)
    settings = load(places)
    assert settings is not None
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(message)s")
    return keep(places, partial(Part, settings, places, host=options.host, clock=CLOCK))


if __name__ == "__main__":
    sys.exit(main())
