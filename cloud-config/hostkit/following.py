"""A part of etcd, followed: all of it once, then every change, from a thread of its own."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hostkit.etcd import Change, Client, Compacted, Snapshot
from updater.errors import BedplateError

if TYPE_CHECKING:
    from hostkit.etcd.watch import Watch

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0  # seconds; etcd that comes back is not met by all hosts at once

Post = Callable[[Callable[[], None]], None]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told; each is called on the thread that takes what is posted.

    `listed` gets all there is, `changed` what has changed since, `trouble` why changes are not
    heard, or an empty text when they are again.
    """

    listed: Callable[[Snapshot], None]
    changed: Callable[[Change], None]
    trouble: Callable[[str], None]


class Follower:
    """Follows all keys below a prefix until `stop`.

    A watch that broke is resumed after the last revision that it told of; if etcd has forgotten
    what was since then, everything is listed anew.
    """

    def __init__(self, client: Client, prefix: str, listener: Listener, post: Post) -> None:
        self._client = client
        self._prefix = prefix
        self._listener = listener
        self._post = post
        self._stopped = threading.Event()
        self._watch: Watch | None = None
        self._after: int | None = None
        self._failures = 0
        threading.Thread(target=self._run, name=f"follow {prefix}", daemon=True).start()

    def stop(self) -> None:
        """Tell no more; the thread ends by itself."""
        self._stopped.set()
        self.reconnect()

    def reconnect(self) -> None:
        """Go on by a new connection."""
        if watch := self._watch:
            watch.close()

    def _tell(self, message: Callable[[], None]) -> None:
        if not self._stopped.is_set():
            self._post(message)

    def _run(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            try:
                self._follow()
            except BedplateError as error:
                if isinstance(error, Compacted):
                    self._after = None
                self._tell(partial(self._listener.trouble, str(error)))
            except BaseException as error:  # noqa: BLE001 - see `raising`
                self._tell(partial(raising, error))
                return
            # A member without a leader takes watches, and ends them at once.
            if time.monotonic() - began > _LONGEST_PAUSE:
                self._failures = 0
            pause = min(_FIRST_PAUSE * 2 ** min(self._failures, 16), _LONGEST_PAUSE)
            self._failures += 1
            self._stopped.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def _follow(self) -> None:
        if self._after is None:
            snapshot = self._client.list(self._prefix)
            self._after = snapshot.revision
            self._tell(partial(self._listener.listed, snapshot))
        with self._client.watch(self._prefix, after=self._after) as watch:
            self._watch = watch
            self._tell(partial(self._listener.trouble, ""))
            try:
                for change in watch:
                    self._tell(partial(self._listener.changed, change))
            finally:
                self._after = watch.revision


def raising(error: BaseException) -> None:
    """Let a thread's own failure end the agent, which systemd starts again.

    A thread that ended alone would leave an agent that seems well and hears nothing.
    """
    raise error
