"""`bedplate` as on a machine of the guests' own link, where addresses lead to them and no forwards.

    on_the_link.py '{"10.77.0.1:7443": 40123}' host --label role=web status

It runs as a program of its own. A connection to one of these addresses goes to that port of this
machine's loopback, where QEMU forwards it to the guest; nothing else differs.
"""

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any
from unittest import mock

from builder import cli

_LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str]) -> int:
    """Run a command of `bedplate`; its exit status is ours."""
    ways: Mapping[str, int] = json.loads(arguments[0])
    plain = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:  # noqa: ANN401 - each family's own
        way = ways.get("{}:{}".format(*address)) if self.family is socket.AF_INET else None
        plain(self, address if way is None else (_LOOPBACK, way))

    with mock.patch.object(socket.socket, "connect", connect):
        return cli.main(arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
