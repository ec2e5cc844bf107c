"""Root's side, as the server asks it: one connection an act, lines of JSON.

What it does, and how the lines look, is in `hostapi.acts`.
"""

import asyncio
import binascii
import codecs
import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hostapi.limits import Limits
from hostapi.refusal import Fault, RefusedError
from hostapi.routing import Asked

_UNIT = "bedplate-api-act.socket"
_LONGEST_REQUEST = 2 << 20  # bytes, as root's side reads them
_BLOCK = 64 << 10  # bytes of a document
_FAULTS = {each.value: each for each in (Fault.INVALID, Fault.BUSY, Fault.MISSING, Fault.FAILED)}


@dataclass(frozen=True, slots=True)
class Result:
    """The last word of an act that was done."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Progress:
    """One word on the way."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Data:
    """A part of a file."""

    block: bytes


Word = Progress | Data | Result


class Root(Protocol):
    """Who does what only root can."""

    def act(self, who: str, asked: Asked) -> AsyncGenerator[Word, None]:
        """Have it done; a `Result` comes last.

        Raises:
            RefusedError: it was not done, or nobody knows; also in the midst of it.
        """


def _failed(message: str) -> RefusedError:
    return RefusedError(Fault.FAILED, message)


def request_line(who: str, asked: Asked) -> bytes:
    """The request, a line.

    Raises:
        RefusedError: it is too long.
    """
    request = {"act": asked.endpoint.name, "who": who, "arguments": dict(asked.arguments)}
    try:
        head = json.dumps(request, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise RefusedError(
            Fault.INVALID, "a text that is no Unicode: half of a surrogate pair"
        ) from None
    line = bytearray(head.removesuffix(b"}") + b', "document": ')
    for piece in _quoted(asked.document):
        line += piece
        if len(line) > _LONGEST_REQUEST:
            longest = f"{_LONGEST_REQUEST >> 20} MiB"
            raise RefusedError(Fault.LARGE, f"the request has more than {longest} as JSON")
    return bytes(line + b"}\n")


def _quoted(document: bytes | None) -> Iterator[bytes]:
    """As JSON, in blocks: one text of it all could take 24 times its length in memory."""
    if document is None:
        yield b"null"
        return
    blocks = (document[at : at + _BLOCK] for at in range(0, len(document), _BLOCK))
    yield b'"'
    for text in codecs.iterdecode(blocks, "utf-8"):
        yield json.dumps(text, ensure_ascii=False)[1:-1].encode()
    yield b'"'


def read_word(line: bytes) -> Word:
    """One line of an answer.

    Raises:
        RefusedError: it is the act's error, or nothing that an act says.
    """
    try:
        found = json.loads(line)
        match found:
            case {"progress": dict(values), **rest} if not rest:
                return Progress(values)
            case {"result": dict(values), **rest} if not rest:
                return Result(values)
            case {"data": str(text), **rest} if not rest:
                return Data(binascii.a2b_base64(text, strict_mode=True))
            case {"error": {"code": str(code), "message": str(message)}}:
                error = RefusedError(_FAULTS.get(code, Fault.FAILED), message)
            case _:
                error = _failed("root's side gave an answer that is none")
    except (ValueError, RecursionError):
        error = _failed("root's side gave an answer that is none")
    raise error


@dataclass(frozen=True, slots=True)
class SocketRoot:
    """Root's side behind its socket."""

    socket: Path
    limits: Limits

    async def act(self, who: str, asked: Asked) -> AsyncGenerator[Word, None]:
        """See `Root`; closing this leaves the act to go on without us."""
        async with aclosing(self._words(request_line(who, asked))) as words:
            async for word in words:
                yield word
                if isinstance(word, Result):
                    return
        raise _failed(
            f"root's side ended without an answer; this host's journal says why ({_UNIT})"
        )

    async def _words(self, line: bytes) -> AsyncGenerator[Word, None]:
        try:
            reader, writer = await asyncio.open_unix_connection(
                self.socket, limit=self.limits.act_line
            )
        except OSError as error:
            reason = error.strerror or error
            raise _failed(f"root's side cannot be asked: {reason}; see {_UNIT}") from None
        try:
            async with asyncio.timeout(self.limits.act):
                writer.write(line)
                # It may be long, and so may the act.
                del line
                await writer.drain()
            while True:
                async with asyncio.timeout(self.limits.act):
                    answer = await reader.readline()
                if not answer.endswith(b"\n"):
                    return
                yield read_word(answer)
        except TimeoutError:
            seconds = f"{self.limits.act:.0f} seconds"
            raise _failed(
                f"root's side was silent for {seconds}; it may still be at work"
            ) from None
        except ValueError:
            raise _failed("root's side gave a line that is too long") from None
        except OSError:
            # It died; `act` says so.
            return
        finally:
            writer.close()
