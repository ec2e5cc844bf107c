"""/healthz, asked for real on the loopback."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest
import requests

from overlay.healthz import HealthzError, serve
from overlay.settings import Healthz

SECONDS = 30
"""A limit of each question; no test waits for it."""


@contextmanager
def served(reason: str, address: str = "127.0.0.1") -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = serve(Healthz(ip_address(address), port), lambda: reason)
    host = f"[{address}]" if ":" in address else address
    try:
        yield f"http://{host}:{port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_no_reason_is_good(address: str) -> None:
    with served("", address) as url:
        answer = requests.get(f"{url}/healthz", timeout=SECONDS)
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_a_reason_is_told() -> None:
    with served("the lease is lost") as url:
        answer = requests.get(f"{url}/healthz?verbose", timeout=SECONDS)
        head = requests.head(f"{url}/healthz", timeout=SECONDS)
    assert (answer.status_code, answer.text) == (503, "the lease is lost\n")
    assert (head.status_code, head.content) == (503, b"")


def test_there_is_nothing_else() -> None:
    with served("") as url:
        assert requests.get(url, timeout=SECONDS).status_code == 404
        assert requests.post(f"{url}/healthz", data=b"x" * 100, timeout=SECONDS).status_code == 501


def test_who_says_nothing_is_dropped() -> None:
    with served("") as url:
        host, _, port = url.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port))) as silent:
            silent.send(b"GET /heal")
            assert requests.get(f"{url}/healthz", timeout=SECONDS).status_code == 200
            # It was dropped, for the other's sake.
            silent.settimeout(SECONDS)
            assert silent.recv(1) == b""


def test_a_taken_port_is_told() -> None:
    with served("") as url, pytest.raises(HealthzError, match="see healthz_ip and healthz_port"):
        serve(Healthz(ip_address("127.0.0.1"), int(url.rpartition(":")[2])), lambda: "")
