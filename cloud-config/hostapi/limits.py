"""What clients may take of this host, all of them together and each alone. Pure."""

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

from hostapi.access import Client
from hostapi.contract import Role


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits; times in seconds, lengths in bytes.

    Of what all clients share `..._kept` are the operators' alone: no number of readers keeps them
    out.
    """

    # Connections without a certificate yet, of all addresses; the oldest goes for a new one.
    handshakes: int = 256
    handshake: float = 10.0  # from the connection to the end of the handshake
    # Connections, and how many of them one client may have; one that was idle for `resting`
    # gives way to a new one.
    connections: int = 128
    connections_each: int = 48
    connections_kept: int = 16
    resting: float = 1.0
    # Requests that are worked on, and streams.
    requests: int = 40
    requests_each: int = 24
    requests_kept: int = 8
    streams: int = 40
    streams_each: int = 24
    streams_kept: int = 8
    # Documents that are taken, or that root's side looks at: some MiB of memory each.
    documents: int = 4
    documents_each: int = 2
    # Answers longer than a block that are being taken: some hold a document as well.
    long: int = 8
    long_each: int = 3
    long_kept: int = 2
    # What root's side does at the same time, and how long a request waits for its turn.
    acts: int = 4
    acts_kept: int = 1
    turn: float = 30.0
    # Requests of one client: so many a second, after so many at once.
    rate: float = 20.0
    burst: float = 100.0
    clients: int = 1024  # whose requests are counted
    header: int = 16 << 10  # request line and headers
    idle: float = 15.0  # until the end of the next request's headers
    body: float = 60.0  # from there to the end of its body
    discarded: int = 8 << 20  # of a body that is refused, so that the client hears why
    write: float = 20.0  # for one block of an answer to be taken
    block: int = 64 << 10  # of an answer
    # What the kernel holds of an answer that is not taken; it doubles the figure (socket(7)).
    send_buffer: int = 64 << 10
    whole: float = 30.0  # for what this host reads by itself
    act: float = 900.0  # between two words of root's side
    act_line: int = 4 << 20  # one of its lines
    # Until a stream's headers are sent, so that a failure can still have a status of its own.
    first_line: float = 1.0
    first_act_line: float = 30.0
    grace: float = 5.0  # for answers under way at the end of the program


class Shares:
    """So many in all, the last `kept` of them for operators, and so many for each; nobody waits."""

    def __init__(self, overall: int, each: int, kept: int) -> None:
        self._overall, self._each, self._kept = overall, each, kept
        self._taken: Counter[Client] = Counter()
        self.total = 0

    def has(self, who: Client) -> bool:
        """Whether there is one left for `who`."""
        kept = 0 if who.may(Role.OPERATOR) else self._kept
        return self.total < self._overall - kept and not self.full_for(who)

    def full_for(self, who: Client) -> bool:
        """Whether it is `who` that has too many, and not all together."""
        return self._taken[who] >= self._each

    def of(self, who: Client) -> int:
        """How many `who` has."""
        return self._taken[who]

    def take(self, who: Client) -> bool:
        """Take one; False if there is none left."""
        if not self.has(who):
            return False
        self._taken[who] += 1
        self.total += 1
        return True

    def give_back(self, who: Client) -> None:
        """Give one back that was taken."""
        self.total -= 1
        self._taken[who] -= 1
        if not self._taken[who]:
            del self._taken[who]


class Buckets:
    """A token bucket for each: `rate` tokens a second, `burst` at most.

    Times are monotonic seconds. Of more than `kept` the one that was asked longest ago is
    forgotten, and so begins anew.
    """

    def __init__(self, rate: float, burst: float, kept: int) -> None:
        self._rate, self._burst, self._kept = rate, burst, kept
        self._levels: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable, now: float) -> int:
        """Take a token; 0, or the whole seconds until there is one."""
        level, since = self._levels.pop(who, (self._burst, now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait = 0
        if level >= 1:
            level -= 1
        else:
            wait = max(1, math.ceil((1 - level) / self._rate))
        self._levels[who] = (level, now)
        while len(self._levels) > self._kept:
            self._levels.popitem(last=False)
        return wait
