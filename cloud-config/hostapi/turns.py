"""Shares that are waited for."""

import asyncio

from hostapi.access import Client
from hostapi.limits import Shares


class Turns:
    """Of those who wait, and may have the next share, it is his who has fewest."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares
        self._waiting: dict[asyncio.Future[None], Client] = {}  # in the order in which they came

    async def take(self, who: Client) -> None:
        """Take one, once there is one; whoever could have it before has it already."""
        if self._shares.take(who):
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = who
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It came at the very moment.
                self.give_back(who)
            raise
        finally:
            del self._waiting[turn]

    def give_back(self, who: Client) -> None:
        """Give one back that was taken: it is the next one's turn."""
        self._shares.give_back(who)
        for turn in sorted(self._waiting, key=lambda each: self._shares.of(self._waiting[each])):
            if not turn.done() and self._shares.take(self._waiting[turn]):
                turn.set_result(None)
                return
