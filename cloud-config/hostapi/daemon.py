"""`bedplate-api`: answers clients with a certificate, until SIGTERM."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, MutableMapping, Sequence
from functools import partial
from pathlib import Path

from hostapi import tls
from hostapi.acting import SocketRoot
from hostapi.api import Api
from hostapi.contract import Value
from hostapi.limits import Limits
from hostapi.places import Places
from hostapi.reading import agent, metrics, status
from hostapi.server import Server
from hostapi.sources import Sources
from updater import notify
from updater.errors import InputError, run_main

_FIRST = 3  # the first descriptor that is passed on (sd_listen_fds(3))
_ALIVE = 10.0  # seconds; well within the unit's WatchdogSec=
_LOG = logging.getLogger(__name__)


def listeners(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that the service manager passes on (sd_listen_fds(3)).

    Raises:
        InputError: there are none.
    """
    mine = environment.pop("LISTEN_PID", "") == str(os.getpid())
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if not mine or not count.isdecimal() or int(count) < 1:
        raise InputError("no socket was passed on: bedplate-api.socket starts this program")
    found = [socket.socket(fileno=number) for number in range(_FIRST, _FIRST + int(count))]
    for each in found:
        # Programs that this one starts have no use for them.
        os.set_inheritable(each.fileno(), False)  # noqa: FBT003 - the library's own signature
    return found


def host_sources(root: Path) -> Sources:
    """The sources of a host; what they need is imported when it is first asked for."""

    def boots() -> Mapping[str, object]:
        from hostapi import journal  # noqa: PLC0415

        return journal.boots()

    def timings() -> Mapping[str, object]:
        from hostapi.timings import timings  # noqa: PLC0415

        return timings()

    def crashes() -> Mapping[str, object]:
        from hostapi.crashes import listing  # noqa: PLC0415

        return listing()

    def logs(arguments: Mapping[str, Value]) -> AsyncIterator[Mapping[str, object]]:
        from hostapi.journal import Query, stream  # noqa: PLC0415

        return stream(Query.of(arguments, time.time()))

    return Sources(
        whole={
            "status": partial(status, root),
            "metrics": partial(metrics, root),
            "pods": partial(agent, root, "pods"),
            "overlay": partial(agent, root, "overlay"),
            "boots": boots,
            "timings": timings,
            "crashes": crashes,
        },
        lines={"logs": logs},
    )


async def serve(server: Server, found: Sequence[socket.socket]) -> None:
    """Serve until SIGTERM."""
    ends = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ends.set)
    server.open(found)
    notify.send("READY=1", "STATUS=up")
    while not ends.is_set():
        notify.send("WATCHDOG=1")
        try:
            async with asyncio.timeout(_ALIVE):
                await ends.wait()
        except TimeoutError:
            continue
    notify.send("STOPPING=1")
    await server.close()


def _run(places: Places) -> int:
    limits = Limits()
    context = tls.context(places.credentials())
    found = listeners(os.environ)

    async def work() -> None:
        api = Api(host_sources(places.root), SocketRoot(places.acts, limits), limits)
        await serve(Server(api, context), found)

    asyncio.run(work())
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; 0 after it, 1 on failure, 2 on a wrong certificate or list."""
    parser = argparse.ArgumentParser(
        prog="bedplate-api", description="Answers clients of this host's API."
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the host's files are (for tests)"
    )
    places = Places(parser.parse_args(argv).root)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    # It logs handshakes that failed; the door does too, within limits.
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    return run_main(lambda: _run(places))


if __name__ == "__main__":
    sys.exit(main())
