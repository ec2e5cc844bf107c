"""Refusals in the log: not as many of them as others can cause."""

import logging
import time
from collections.abc import Hashable

from hostapi.limits import Buckets

_LOG = logging.getLogger(__name__)
# So many a second of each, after so many at once.
_TOLD, _TOLD_AT_ONCE = 1.0, 20.0


class Teller:
    """Warns of what each of the last `kept` did, and says how much was left out since."""

    def __init__(self, kept: int) -> None:
        self._buckets = Buckets(_TOLD, _TOLD_AT_ONCE, kept)
        self._untold = 0

    def warn(self, who: Hashable, text: str) -> None:
        """Write a line, if there were not too many for `who` of late."""
        if self._buckets.take(who, time.monotonic()):
            self._untold += 1
            return
        more = f" (and {self._untold} more that are not told)" if self._untold else ""
        self._untold = 0
        _LOG.warning("%s%s", text, more)
