"""One request of a client: whether it is let in, its body, its answer, and its line in the log."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, cast

from tornado import httputil

from hostapi.api import STREAMED, Api, taken
from hostapi.contract import Role
from hostapi.limits import Shares
from hostapi.refusal import GONE, STATUS, Fault, RefusedError, expired, refusal_of
from hostapi.reply import GoneError, Reply
from hostapi.routing import Asked, find, maximum_body, read, with_body
from hostapi.visitor import Visitor
from updater.errors import BedplateError, InputError

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection

_LOG = logging.getLogger(__name__)


class Exchange(httputil.HTTPMessageDelegate):
    """Takes a request as it comes in, and answers it in a task of its own.

    What is refused is refused once its body has been read and dropped: a client that still sends
    would not hear why.
    """

    def __init__(self, api: Api, connection: "HTTP1Connection", visitor: Visitor) -> None:
        self._api, self._connection, self._visitor = api, connection, visitor
        self._reply = Reply(connection, api.limits)
        self._asked: Asked | None = None
        self._refusal: RefusedError | None = None
        self._name = "-"  # of the endpoint, for the log
        self._body = bytearray()
        self._room = 0  # bytes of a body
        self._open = contextlib.ExitStack()  # what is given back at the end
        self._told = False

    def headers_received(
        self,
        start_line: httputil.RequestStartLine | httputil.ResponseStartLine,
        headers: httputil.HTTPHeaders,
    ) -> Awaitable[None] | None:
        """Decide by the request's head alone whether it is let in."""
        self._visitor.begin()
        self._open.callback(self._visitor.end)
        try:
            self._admit(cast("httputil.RequestStartLine", start_line), headers)
        # Whatever it is, it is answered.
        except Exception as error:  # noqa: BLE001 - `_refuse` logs what nobody foresaw
            self._refuse(error)
        if self._refusal is not None and self._too_long_to_drop(headers):
            return self._run()
        return None

    def _admit(self, start_line: httputil.RequestStartLine, headers: httputil.HTTPHeaders) -> None:
        client = self._visitor.client
        self._api.admit(client)
        if self._visitor.left() <= 0:
            raise expired()
        if client.role is None:
            roles = " or ".join(f"O={each.value}" for each in Role)
            raise RefusedError(Fault.FORBIDDEN, f"this certificate has no role: expected {roles}")
        if "Origin" in headers:
            # A browser that holds a certificate shows it for any page that asks.
            raise RefusedError(Fault.FORBIDDEN, "requests of web pages are not served")
        route = find(start_line.method, start_line.path)
        endpoint = route.endpoint
        self._name = endpoint.name
        if not client.may(endpoint.role):
            message = f"{endpoint.name} needs the role {endpoint.role.value}"
            raise RefusedError(Fault.FORBIDDEN, message)
        self._asked = read(route)
        self._room = maximum_body(endpoint)
        if not self._room and (_length(headers) or "Transfer-Encoding" in headers):
            # It would hold its share for as long as its body takes.
            raise InputError("body: this endpoint takes none")
        if _length(headers) > self._room:
            raise self._too_large()
        self._take(self._api.streams if endpoint.answer in STREAMED else self._api.requests)
        if endpoint.document:
            self._take(self._api.documents)

    def _take(self, shares: Shares) -> None:
        self._open.enter_context(taken(shares, self._visitor.client))

    def _too_large(self) -> RefusedError:
        return RefusedError(Fault.LARGE, f"body: more than {self._room} bytes")

    def _too_long_to_drop(self, headers: httputil.HTTPHeaders) -> bool:
        # Who waits to be told to go on is told not to.
        waits = headers.get("Expect", "").lower() == "100-continue"
        return waits or _length(headers) > self._api.limits.discarded

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a part of the body, or drop it."""
        if self._refusal is not None:
            return None
        self._body += chunk
        if len(self._body) > self._room:
            self._refuse(self._too_large())
        return None

    def finish(self) -> None:
        """Answer: the request is whole."""
        task = asyncio.create_task(self._run())
        self._api.tasks.add(task)
        task.add_done_callback(self._api.tasks.discard)

        def left() -> None:
            """The client has closed its connection."""
            task.cancel()

        self._connection.set_close_callback(left)

    def on_connection_close(self) -> None:
        """Forget a request that did not come whole, or whose answer did not wait for its end."""
        self._open.close()

    def _refuse(self, error: Exception) -> None:
        if not isinstance(error, BedplateError | OSError):
            _LOG.error("%s", self._name, exc_info=error)
        # Without the traceback, which would keep all that was worked with.
        self._refusal = refusal_of(error).with_traceback(None)
        self._body.clear()

    async def _run(self) -> None:
        try:
            await self._answer()
        except GoneError:
            self._tell(GONE)
        except asyncio.CancelledError:
            # The client has closed its connection, or this program ends.
            self._tell(GONE)
            self._reply.cut()
        finally:
            self._reply.leave()
            self._open.close()

    async def _answer(self) -> None:
        visitor = self._visitor
        try:
            if self._refusal is None and self._asked is not None:
                asked = with_body(self._asked, bytes(self._body))
                self._body.clear()
                if asked.endpoint.role is Role.OPERATOR:
                    _LOG.info("%s asks for %s", visitor, self._name)
                await self._api.answer(visitor, asked, self._reply, lambda: self._tell(200))
                return
        except GoneError:
            raise
        except Exception as error:  # noqa: BLE001 - `_refuse` logs what nobody foresaw
            self._refuse(error)
        refusal = self._refusal
        assert refusal is not None  # noqa: S101 - or it would have been answered
        if self._reply.begun:
            _LOG.warning("%s for %s: %s", self._name, visitor, refusal)
            return
        self._tell(refusal.status)
        await self._reply.refuse(refusal)

    def _tell(self, code: int) -> None:
        """Write the request's one line to the log."""
        if self._told:
            return
        self._told = True
        self._api.codes[code] += 1
        line = f"{self._visitor}: {self._name}: {code}"
        if code == STATUS[Fault.RATE]:
            # There is no end of these.
            self._api.teller.warn(self._visitor.client, line)
        else:
            _LOG.info("%s", line)


def _length(headers: httputil.HTTPHeaders) -> int:
    """The body's length as it is announced; the HTTP library refuses what is no number."""
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
