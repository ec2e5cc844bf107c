"""A few threads for what waits for others; they end with the program and hold up no end of it."""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from hostkit.following import Post, raising


class Pool:
    """Does what it is given, in that order, `size` things at the same time at most."""

    def __init__(self, name: str, size: int, post: Post) -> None:
        self._post = post
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        for number in range(size):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def do(self, work: Callable[[], None]) -> None:
        """Let this be done; it posts what comes of it by itself."""
        self._jobs.put(work)

    def _run(self) -> None:
        try:
            while True:
                self._jobs.get()()
        except BaseException as error:  # noqa: BLE001 - see `raising`
            self._post(partial(raising, error))
