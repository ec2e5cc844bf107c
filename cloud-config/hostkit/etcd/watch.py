"""A watch: what changes below a prefix, as it happens."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self

from hostkit.etcd.errors import Compacted, EndpointError, StaleTokenError, Unavailable
from hostkit.etcd.gateway import AnswerError, Json, prefix_json, watch_message
from hostkit.etcd.transport import Transport
from hostkit.etcd.values import Change, Message
from hostkit.etcd.verdict import cancelled, success


class Watch:
    """Changes in their order, none left out; for one thread, but any may `close` it.

    It ends without an error when it was closed, or when nothing came for so long that the
    connection may be dead (`Limits.watch_gap_seconds`; etcd itself tells of its progress every 10
    minutes, or as often as its --experimental-watch-progress-notify-interval says). It ends with
    Unavailable when it broke. Either way a new one `after` this one's `revision` loses nothing.

    `revision` is the last one of which all changes were handed out. `store` is the one that the
    member was at when it began, which may be behind others.
    """

    def __init__(self, transport: Transport, prefix: str, after: int) -> None:
        self.revision = after
        self._transport = transport
        self._closed = False
        self._endpoint = ""
        request = {**prefix_json(prefix), "start_revision": str(after + 1), "progress_notify": True}
        self._request: Json = {"create_request": request}
        try:
            lines, self.store = transport.somewhere(self._begin, repeat=True)
        except BaseException:
            transport.close()
            raise
        self._changes = self._all(lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Change:
        """Wait for the next change.

        Raises:
            Compacted: the changes after `after` are not kept any more; list, and watch after that.
            Unavailable: it broke.
            Refused: the user may not read below the prefix any more.
            StopIteration: it was closed, or quiet for too long.
        """
        return next(self._changes)

    def close(self) -> None:
        """End it, also while another thread waits for a change."""
        self._closed = True
        self._transport.close()

    def _begin(self, endpoint: str, headers: Mapping[str, str]) -> tuple[Iterator[bytes], int]:
        status, lines = self._transport.wire.stream(f"{endpoint}/v3/watch", self._request, headers)
        self._endpoint = endpoint
        return lines, _message(status, next(lines, b"")).store

    def _all(self, lines: Iterator[bytes]) -> Iterator[Change]:
        try:
            for line in lines:
                message = _message(HTTPStatus.OK, line)
                for change in message.changes:
                    self.revision = max(self.revision, change.revision - 1)
                    yield change
                self.revision = max(self.revision, message.reached)
        except (EndpointError, StaleTokenError) as error:
            if not self._closed:
                raise Unavailable(f"etcd: {self._endpoint}: {error}") from error
        finally:
            self._transport.close()


def _message(status: int, line: bytes) -> Message:
    document = success(status, line)
    try:
        message = watch_message(document)
    except AnswerError as error:
        raise EndpointError(f"not etcd's answer: {error}", applied=False) from error
    if message.compacted:
        raise Compacted(
            f"etcd: the history before revision {message.compacted} is gone: list anew",
            message.compacted,
        )
    if message.canceled:
        raise cancelled(message.reason)
    return message
