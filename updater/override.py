"""Another channel or strategy until the next boot, on an operator's word.

A file below /run, read above all else that says what the updater does; a boot begins without it.
"""

import json
from contextlib import suppress

from updater import config
from updater.config import ConfigError, Fragment
from updater.errors import InputError
from updater.files import write_atomic
from updater.host import Paths
from updater.status import Override


def read(paths: Paths) -> Override | None:
    """What is overridden now; of a broken file nothing, for that `config.load` tells of it."""
    with suppress(OSError, ConfigError):
        found = config.parse_fragment(paths.override.read_bytes(), paths.override).values
        channel, strategy = found.get("channel"), found.get("strategy")
        return Override(
            channel if isinstance(channel, str) else None,
            strategy if isinstance(strategy, str) else None,
        )
    return None


def begin(paths: Paths, override: Override) -> None:
    """Put `override` in the place of one that there was.

    Raises:
        InputError: it asks for nothing, or cannot be with this host's configuration, such as a
            strategy `window` where no window is configured.
        OSError: it cannot be written.
    """
    pairs = {"channel": override.channel, "strategy": override.strategy}
    values = {key: value for key, value in pairs.items() if value is not None}
    if not values:
        raise InputError("nothing to override: give a channel, a strategy, or both")
    below = [config.read_fragment(path) for path in paths.configured_below]
    config.validate(config.merge(*below, Fragment(paths.override, values)))
    paths.override.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(paths.override, json.dumps(values).encode() + b"\n")


def end(paths: Paths) -> bool:
    """Let the configuration hold again; whether there was an override.

    Raises:
        OSError: it cannot be removed.
    """
    try:
        paths.override.unlink()
    except FileNotFoundError:
        return False
    return True
