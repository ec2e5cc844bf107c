"""`bedplate host ... logs`: entries of journals, written as they come."""

import argparse
import json
import sys
import threading
from collections.abc import Iterator, Mapping

from builder.host import entries, following
from builder.host.asking import ask
from builder.host.client import Client, Json
from builder.host.outcome import Outcome
from builder.host.values import printable
from hostapi.contract import BY_NAME

_ENDPOINT = BY_NAME["logs"]


class Writer:
    """Writes entries to stdout, of one host or of many, each whole."""

    def __init__(self, options: argparse.Namespace, *, colour: bool) -> None:
        self._options = options
        self._colour = colour
        self._lock = threading.Lock()

    def write(self, client: Client) -> Outcome:
        """Write the entries of a host; ends with them, if they are not followed.

        Raises:
            HostError: see errors.py.
        """
        count = 0
        for entry in self._entries(client):
            text = "".join(f"{line}\n" for line in self._lines(entry, client.target.name))
            with self._lock:
                sys.stdout.write(text)
                if self._options.follow:
                    sys.stdout.flush()
            count += 1
        return Outcome({"schema": 1, "entries": count}, (), f"{count} entries")

    def _entries(self, client: Client) -> Iterator[Json]:
        arguments = {each.name: getattr(self._options, each.name) for each in _ENDPOINT.parameters}
        if self._options.follow:
            return following.follow(client, arguments)
        return client.lines(ask("logs", arguments))

    def _lines(self, entry: Mapping[str, object], host: str) -> list[str]:
        if self._options.json:
            return [json.dumps(printable({"host": host, **entry}), ensure_ascii=False)]
        return entries.lines(entry, host, colour=self._colour)
