"""How often somebody may ask; pure but for what it remembers."""

from collections import OrderedDict


class Rates:
    """Lets each key through `burst` times at once, and `per_second` after that.

    Of keys beyond `most`, those that have not come for longest are forgotten.
    """

    def __init__(self, burst: int, per_second: float, most: int = 10_000) -> None:
        self._burst = float(burst)
        self._per_second = per_second
        self._most = most
        self._seen: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, key: str, now: float) -> bool:
        """Whether this one may go on; `now` is in monotonic seconds."""
        left, then = self._seen.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_second)
        allowed = left >= 1
        self._seen[key] = (left - 1 if allowed else left, now)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return allowed
