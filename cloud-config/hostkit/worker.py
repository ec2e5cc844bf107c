"""A thread for what waits for others, so that the agent's own waits for nobody."""

import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from hostkit.following import Post, raising

T = TypeVar("T")


class Worker:
    """Does one thing after the other; what came of each is posted."""

    def __init__(self, name: str, post: Post) -> None:
        self._waiting = 0
        self._closed = False
        self._post = post
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether something that was asked for is not done; for the thread that asks."""
        return self._waiting > 0

    def do(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Let `work` be done there, and `done` be called here with what it gave."""
        self._waiting += 1
        self._jobs.put(partial(self._one, work, done))

    def close(self) -> None:
        """End after what is being done now; nobody is told of that."""
        self._closed = True
        self._jobs.put(lambda: None)

    def _one(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        found = work()

        def finish() -> None:
            self._waiting -= 1
            if not self._closed:
                done(found)

        self._post(finish)

    def _run(self) -> None:
        try:
            while not self._closed:
                self._jobs.get()()
        except BaseException as error:  # noqa: BLE001 - see `raising`
            self._post(partial(raising, error))
