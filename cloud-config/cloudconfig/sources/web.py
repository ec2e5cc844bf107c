"""Answers of metadata servers: bounded, in time, and from no other server than was asked."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from cloudconfig.sources.base import SourceError

# Seconds. In all they bound how long a boot waits for a metadata server that does not answer.
CONNECT_SECONDS = 5.0
GAP_SECONDS = 10.0
TOTAL_SECONDS = 60.0
BACKOFF_SECONDS = 1.0
RETRIES = 4
_URL = re.compile(r"https?://[!-~]{1,2048}")


class Session:
    """Requests to one source, which together keep to the time that a source may take."""

    def __init__(self) -> None:
        # It brings requests, which takes seconds to import on a small host.
        from updater import fetch  # noqa: PLC0415

        self._error = fetch.FetchError
        self._fetcher = fetch.Fetcher(
            fetch.Limits(
                connect_seconds=CONNECT_SECONDS,
                gap_seconds=GAP_SECONDS,
                total_seconds=TOTAL_SECONDS,
                backoff_seconds=BACKOFF_SECONDS,
                retries=RETRIES,
            )
        )

    def get(
        self,
        url: str,
        limit: int,
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "GET",
        answers_with: Mapping[str, str] | None = None,
    ) -> bytes | None:
        """At most `limit` bytes, or None if the server has no such thing (404).

        Args:
            url: of what is asked for.
            limit: bytes.
            headers: of the request; with them, no other server is believed in a redirect.
            method: of the request.
            answers_with: headers that the answer must have.

        Raises:
            SourceError: any other failure.
        """
        try:
            return self._fetcher.small(
                url, limit, headers=headers, method=method, answers_with=answers_with
            )
        except self._error as error:
            if error.status == 404:
                return None
            raise SourceError(str(error)) from error


def checked(url: str) -> str:
    """A URL that somebody gave.

    Raises:
        SourceError: it is none of http or https.
    """
    try:
        right = bool(_URL.fullmatch(url) and urlsplit(url).hostname)
    except ValueError:
        right = False
    if not right:
        raise SourceError(f"{ascii(url)[:80]} is no http or https URL, which is what is fetched")
    return url


def shown(url: str) -> str:
    """A URL without what may be secret in it: a password, or a query."""
    # Whoever has something to show has asked, so it is imported already.
    from updater.fetch import public  # noqa: PLC0415

    return public(url)
