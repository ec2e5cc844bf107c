"""The option --deadline of the agents' programs: how long what they begin may take."""

import argparse
import math


def add_deadline(
    parser: argparse.ArgumentParser, text: str, default: float, *, least: float = 0.0
) -> None:
    """Add `--deadline SECONDS`; not less than `least`, and never for ever.

    Args:
        parser: of the verb.
        text: what it is; the default is added.
        default: seconds.
        least: seconds.
    """

    def seconds(raw: str) -> float:
        found = float(raw)
        if not (math.isfinite(found) and found >= least):
            raise ValueError(raw)
        return found

    parser.add_argument(
        "--deadline",
        type=seconds,
        default=default,
        metavar="SECONDS",
        help=f"{text} ({default:.0f})",
    )
