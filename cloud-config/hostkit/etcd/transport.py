"""Requests to whichever endpoint answers, as the user that we are."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from hostkit.etcd.access import Access, Limits
from hostkit.etcd.errors import (
    EndpointError,
    EtcdError,
    Refused,
    StaleTokenError,
    Unavailable,
)
from hostkit.etcd.gateway import AnswerError, Json, text
from hostkit.etcd.verdict import success
from hostkit.etcd.wire import Wire

_TOKEN = re.compile(r"[!-~]{1,8192}", re.ASCII)
T = TypeVar("T")


class Endpoints:
    """In which order endpoints are asked: the one that answered last stays the first.

    For any number of threads.
    """

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._current = 0
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            first = self._current
        return iter(self._urls[first:] + self._urls[:first])

    def failed(self, url: str) -> None:
        """Ask the next one first from now on, unless another thread has seen to that."""
        with self._lock:
            if self._urls[self._current] == url:
                self._current = (self._current + 1) % len(self._urls)


class Transport:
    """One exchange at a time; for one thread."""

    def __init__(self, access: Access, limits: Limits, endpoints: Endpoints) -> None:
        self.wire = Wire(access, limits)
        self._access = access
        self._endpoints = endpoints
        self._token: str | None = None

    def call(self, path: str, document: Json, read: Callable[[Json], T], *, repeat: bool) -> T:
        """What `read` makes of etcd's answer to a request; it may raise AnswerError.

        Args:
            path: below /v3/.
            document: the request.
            read: from gateway.py.
            repeat: ask the next endpoint even if this one may have done what it was asked.

        Raises:
            EtcdError: see errors.py.
        """

        def ask(endpoint: str, headers: Mapping[str, str]) -> T:
            return self._post(endpoint, path, document, headers, read)

        return self.somewhere(ask, repeat=repeat)

    def close(self) -> None:
        """Close the connections; by any thread: what is read from one ends."""
        self.wire.close()

    def somewhere(self, ask: Callable[[str, Mapping[str, str]], T], *, repeat: bool) -> T:
        """What `ask` returns for the first endpoint that serves it, given its URL and our headers.

        Raises:
            EtcdError: what `ask` raises, or Unavailable or Refused with what each endpoint said.
        """
        said: list[str] = []
        refused = applied = False
        for endpoint in self._endpoints:
            try:
                return self._as_user(endpoint, ask)
            except EndpointError as error:
                self._endpoints.failed(endpoint)
                said.append(f"{endpoint}: {error}")
                refused = refused or error.refused
                applied = applied or error.applied
            if applied and not repeat:
                break
        message = "etcd: " + "; ".join(said)
        if refused and not applied:
            raise Refused(message)
        raise Unavailable(message, applied=applied)

    def _as_user(self, endpoint: str, ask: Callable[[str, Mapping[str, str]], T]) -> T:
        """Ask with our token, and once more with a new one if etcd knows it no longer."""
        if not self._access.username:
            try:
                return ask(endpoint, {})
            except StaleTokenError as error:
                raise Refused(
                    f"etcd: {endpoint}: {error}: configure the user and the password"
                ) from error
        if self._token is not None:
            try:
                return ask(endpoint, self._authorization())
            except StaleTokenError:
                self._token = None
        self._token = self._authenticate(endpoint)
        try:
            return ask(endpoint, self._authorization())
        except StaleTokenError as error:
            self._token = None
            raise EndpointError(f"{error}, with a new one", applied=False) from error

    def _authorization(self) -> Mapping[str, str]:
        return {"Authorization": self._token} if self._token else {}

    def _authenticate(self, endpoint: str) -> str:
        """A token; empty if etcd has no users, which is not for us to complain of."""
        document: Json = {"name": self._access.username, "password": self._access.password}
        try:
            return self._post(endpoint, "auth/authenticate", document, {}, _token)
        except StaleTokenError as error:
            raise EndpointError(f"{error}, where it should give one", applied=False) from error
        except EtcdError as error:
            if "authentication is not enabled" in str(error):
                return ""
            raise

    def _post(
        self,
        endpoint: str,
        path: str,
        document: Json,
        headers: Mapping[str, str],
        read: Callable[[Json], T],
    ) -> T:
        answer = success(*self.wire.post(f"{endpoint}/v3/{path}", document, headers))
        try:
            return read(answer)
        except AnswerError as error:
            raise EndpointError(f"not etcd's answer: {error}", applied=True) from error


def _token(answer: Json) -> str:
    found = text(answer, "token")
    if not _TOKEN.fullmatch(found):
        raise AnswerError("a token that is none")
    return found
