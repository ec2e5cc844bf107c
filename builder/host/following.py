"""A host's journal, read or followed: a stream that broke goes on where it stopped."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from builder.host.asking import ask
from builder.host.client import Client, Json
from builder.host.errors import RefusedError, UnreachableError
from builder.host.values import Values

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0  # seconds
# With how much of the past a stream begins if nobody says it: as journalctl(1).
_PAST_LINES = 10

Sleep = Callable[[float], None]


class Position:
    """How far a journal was read: `time` and `boot` of the last entry, and what was told of then.

    Many entries may be of one time.
    """

    def __init__(self) -> None:
        self.time = ""
        self.boot = ""
        self._told: Counter[str] = Counter()
        self._again: Counter[str] = Counter()

    def resume(self) -> None:
        """What comes next is all since `time`, with what was told of that time once more."""
        self._again = self._told.copy()

    def is_new(self, entry: Json) -> bool:
        """Take note of an entry, and say whether it is to be told."""
        at, text = str(entry.get("time", "")), json.dumps(entry, sort_keys=True)
        if at == self.time and self._again[text] > 0:
            self._again[text] -= 1
            return False
        if at != self.time:
            self.time = at
            self._told.clear()
            self._again.clear()
        self._told[text] += 1
        self.boot = str(entry.get("boot", ""))
        return True


def follow(
    client: Client, arguments: Mapping[str, object], sleep: Sleep | None = None
) -> Iterator[Json]:
    """Entries as they come, without end; while the host is away it is asked again and again.

    An entry is given once, however often the stream breaks, and none is left out where the host
    was rebooted meanwhile.

    Raises:
        InputError: an argument is wrong.
        HostError: the host is not away, but refuses; or was not there at the beginning.
    """
    first = {**arguments, "follow": True}
    if all(arguments.get(name) is None for name in ("lines", "since", "boot")):
        first["lines"] = _PAST_LINES
    position = Position()
    opened = client.lines(ask("logs", first), endless=True)
    failures = 0
    while True:
        try:
            for entry in opened:
                failures = 0
                if position.is_new(entry):
                    yield entry
            reason = "the stream ended"
        except UnreachableError as error:
            reason = str(error)
        except RefusedError as error:
            if not error.passes:
                raise
            reason = str(error)
        if not failures:
            name = client.target.name
            _LOG.warning("%s: %s; going on", name, reason.removeprefix(f"{name}: "))
        (sleep or client.pause)(min(_FIRST_PAUSE * 2 ** min(failures, 16), _LONGEST_PAUSE))
        failures += 1
        opened = _resumed(client, first, position)


def _resumed(client: Client, first: Mapping[str, object], position: Position) -> Iterator[Json]:
    """The entries from where a stream stopped."""
    if not position.time:
        yield from client.lines(ask("logs", first), endless=True)
        return
    rest = {name: value for name, value in first.items() if name not in ("lines", "boot")}
    since = position.time
    boots = Values(client.json(ask("boots"))).inners("boots")
    ended = [each.whole("index") for each in boots if each.text("boot_id") == position.boot]
    position.resume()
    if ended and ended[0] < 0:
        # What was written while nobody listened, before the host went down and since.
        for boot in range(max(ended[0], -99), 0):
            past = {**rest, "follow": None, "boot": boot}
            yield from client.lines(ask("logs", past | ({"since": since} if since else {})))
            since = ""
        since = boots[0].text("first")
    yield from client.lines(ask("logs", {**rest, "since": since}), endless=True)
