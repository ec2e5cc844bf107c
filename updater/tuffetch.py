"""Brings TUF metadata and small targets to python-tuf over our own bounded downloads."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from updater.fetch import Fetcher, FetchError, Limits

# In all, for everything that one look at the repository needs; a watchdog may rely on it.
TOTAL_SECONDS = 150.0
_LIMITS = Limits(gap_seconds=20, total_seconds=TOTAL_SECONDS, retries=2)
_MAXIMUM = 8 * 1024 * 1024
_ROOT = re.compile(r"/([1-9][0-9]{0,8})\.root\.json", re.ASCII)


class MetadataFetcher(FetcherInterface):
    """Downloads within the length that python-tuf allows; keeps the roots that came by."""

    def __init__(self, proxy: str | None) -> None:
        proxies = {} if proxy is None else {"http": proxy, "https": proxy}
        self._fetcher = Fetcher(_LIMITS, proxies=proxies)
        self.roots: dict[int, bytes] = {}

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[BinaryIO]:
        """Give the bytes of `url`, at most `max_length` of them.

        Raises:
            DownloadHTTPError: the server refused, by its HTTP status.
            FetchError: any other failure.
        """
        try:
            data = self._fetcher.small(url, max_length)
        except FetchError as error:
            if error.status is None:
                raise
            raise DownloadHTTPError(str(error), error.status) from error
        match = _ROOT.search(url)
        if match is not None:
            self.roots[int(match[1])] = data
        yield io.BytesIO(data)

    def _fetch(self, url: str) -> Iterator[bytes]:
        with self.download_file(url, _MAXIMUM) as stream:
            yield stream.read()
