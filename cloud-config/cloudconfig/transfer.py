"""Contents that are pinned by their hash, and the call home.

Imported where it is needed only: it brings requests, which takes seconds on a small host.
"""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import requests

from updater import fetch
from updater.errors import BedplateError

_LIMITS = fetch.Limits(connect_seconds=10, gap_seconds=30, total_seconds=1800, retries=4)
_CALL_SECONDS = (5.0, 10.0)  # to connect, and between two bytes


class TransferError(BedplateError):
    """Something could not be fetched, was not what was asked for, or could not be told."""


def fetch_pinned(  # noqa: PLR0917 - all of them are different things
    url: str,
    sha256: str,
    headers: Mapping[str, str],
    limit: int,
    proxies: Mapping[str, str],
    ca_file: Path | None = None,
) -> bytes:
    """At most `limit` bytes, which hash to `sha256`; `ca_file` is whom to believe, else the host's.

    Raises:
        TransferError: any failure; the message has no header in it, as they may be secret.
    """
    try:
        fetcher = fetch.Fetcher(_LIMITS, proxies=proxies, ca_file=ca_file)
        content = fetcher.small(url, limit, headers=headers)
    except fetch.FetchError as error:
        raise TransferError(str(error)) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise TransferError(f"{fetch.public(url)}: its SHA-256 is {found}, expected {sha256}")
    return content


def post(url: str, form: bytes) -> None:
    """Send a form; of the answer only the status counts, and nothing else is read.

    Raises:
        TransferError: it could not be sent, or the answer was no success.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    with requests.Session() as session:
        session.trust_env = False
        try:
            with closing(
                session.post(
                    url,
                    data=form,
                    headers=headers,
                    timeout=_CALL_SECONDS,
                    stream=True,
                    allow_redirects=False,
                )
            ) as answer:
                if not answer.ok:
                    raise TransferError(f"{fetch.public(url)}: answered with {answer.status_code}")
        except requests.RequestException as error:
            raise TransferError(f"{fetch.public(url)}: {type(error).__name__}") from error
