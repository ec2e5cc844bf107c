"""Who gets in: certificates, CAs, revocation lists."""

import asyncio
import gc
import logging
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from api_kit import SECONDS, Certificates, Running, get, lines_of, read_all, sources, ticks
from hostapi import tls
from hostapi.access import Client, client_of, end_of, network, origin
from hostapi.contract import Role
from hostapi.door import Door
from hostapi.limits import Limits
from hostapi.refusal import expired
from hostapi.visitor import Visitor
from updater.errors import InputError

if TYPE_CHECKING:
    from tornado.iostream import SSLIOStream

_DAY = timedelta(days=1)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def running(shared: Certificates) -> Iterator[Running]:
    with Running(shared) as found:
        yield found


def asked(running: Running, name: str | None) -> bytes:
    """What comes for a request: nothing where TLS refused the certificate."""
    with running.connected(name) as connection:
        with suppress(OSError):
            connection.sendall(
                get("/status").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
        return read_all(connection)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "it has no certificate"),
        ("foreign", "its CA is none of ours"),
        ("old", "it has expired"),
        ("server", "it is not for clients"),
    ],
)
def test_who_is_refused_gets_nothing(
    running: Running, name: str | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert asked(running, name) == b""
    assert asked(running, "rita").startswith(b"HTTP/1.1 200 ")
    [told] = [each.message for each in caplog.records if "refused" in each.message]
    assert told.startswith(f"127.0.0.1 refused: {reason}")


def test_nothing_but_tls_1_3(running: Running) -> None:
    context = running.certificates.client("rita")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", running.port), SECONDS) as plain,
        pytest.raises(ssl.SSLError, match="protocol version"),
    ):
        context.wrap_socket(plain, server_hostname="localhost")


def test_sessions_are_not_taken_up_again(running: Running) -> None:
    with running.connected("rita") as connection:
        connection.sendall(get("/status"))
        assert connection.recv(65536)
        assert connection.session is None or not connection.session.has_ticket


def test_a_revoked_certificate_is_refused(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    rita = x509.load_pem_x509_certificate((certificates.folder / "rita.pem").read_bytes())
    (certificates.host / tls.REVOKED).write_bytes(certificates.ours.revocations(rita))
    with Running(certificates) as running:
        assert asked(running, "rita") == b""
        assert running.ask("rolf", "/status").status_code == 200
    assert "refused: it is revoked" in caplog.text


def with_two_cas(certificates: Certificates) -> None:
    both = certificates.ours.pem() + certificates.others.pem()
    (certificates.host / tls.CLIENTS).write_bytes(both)


def test_clients_of_two_cas(certificates: Certificates) -> None:
    with_two_cas(certificates)
    with Running(certificates) as running:
        for name in ("rita", "foreign"):
            assert running.ask(name, "/status").status_code == 200


@pytest.mark.parametrize(
    ("ends", "reason"), [(None, "no revocation list here"), (-_DAY, "is too old")]
)
def test_a_ca_without_a_list_in_force_is_shut_out(
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    ends: timedelta | None,
    reason: str,
) -> None:
    with_two_cas(certificates)
    lists = certificates.ours.revocations()
    if ends is not None:
        lists += certificates.others.revocations(ends=ends)
    (certificates.host / tls.REVOKED).write_bytes(lists)
    with Running(certificates) as running:
        assert running.ask("rita", "/status").status_code == 200
        assert asked(running, "foreign") == b""
    assert reason in caplog.text
    assert ("2 CAs of clients, 1 revocation lists" in caplog.text) == (ends is None)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        (tls.CLIENTS, None, "clients.pem: No such file"),
        (tls.CLIENTS, b"nonsense", "clients.pem"),
        (tls.HOST, b"", "host.pem and host.key"),
        (tls.KEY, b"nonsense", "host.pem and host.key"),
        (tls.REVOKED, b"", "revoked.pem"),
        (tls.REVOKED, b"nonsense", "revoked.pem"),
    ],
)
def test_wrong_files_serve_nobody(
    shared: Certificates, tmp_path: Path, name: str, data: bytes | None, told: str
) -> None:
    folder = tmp_path / "host"
    shutil.copytree(shared.host, folder)
    (folder / name).unlink(missing_ok=True)
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(InputError, match=told):
        tls.context(folder)


def test_the_stand_in_for_a_list_is_none(shared: Certificates, tmp_path: Path) -> None:
    folder = tmp_path / "host"
    shutil.copytree(shared.host, folder)
    (folder / tls.REVOKED).write_bytes(b"none")
    assert not tls.context(folder).verify_flags & ssl.VERIFY_CRL_CHECK_LEAF


def test_a_certificate_that_ends_on_an_open_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []
    left = {0: 50.0, 1: -1.0}

    def played(visitor: Visitor) -> float:
        ends.append(visitor.ends)
        return left[len(ends) - 1]

    monkeypatch.setattr(Visitor, "left", played)
    with running.connected("rita") as connection:
        connection.sendall(get("/status"))
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        connection.sendall(get("/status"))
        found = read_all(connection)
    assert b"HTTP/1.1 403 " in found
    assert b"this certificate has expired" in found
    pem = (running.certificates.folder / "rita.pem").read_bytes()
    assert ends == [x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()] * 2


def test_a_stream_ends_with_its_clients_certificate(
    shared: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Visitor, "left", lambda _: 0.5)
    with Running(shared, sources(lambda _: ticks(1000, 0.01))) as running:
        answer = running.ask("rita", "/logs?follow=true")
    error = {"code": "forbidden", "message": str(expired())}
    assert lines_of(answer)[-1] == {"error": error}


def test_the_time_that_a_certificate_has_left() -> None:
    ends = end_of({"notAfter": "Nov  3 12:00:00 2036 GMT"})
    assert ends == datetime(2036, 11, 3, 12, tzinfo=UTC).timestamp()
    client = Client("rita", Role.READER)
    # Nothing is sent by it.
    visitor = Visitor(client, time.time() + 50, "192.0.2.1", cast("SSLIOStream", None))
    assert 40 < visitor.left() <= 50
    with pytest.raises(ValueError, match="None"):
        end_of({})


def test_who_is_cut_right_after_the_handshake_is_told_as_such(
    shared: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    welcome: list[Visitor] = []

    def shake_hands(port: int) -> None:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
            shared.client("rita").wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.recv(1)

    async def cut() -> None:
        door = Door(tls.context(shared.host), Limits(), welcome.append)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            door.open([listener])
            client = asyncio.create_task(asyncio.to_thread(shake_hands, listener.getsockname()[1]))
            done = False
            while not done:
                # Comes before the task that waits for the same.
                await asyncio.sleep(0)
                done = any(each.socket.version() is not None for each in door._waiting)
            door.close()
            await asyncio.wait((client, *door._tasks))

    asyncio.run(cut())
    gc.collect()
    assert [each.message for each in caplog.records] == ["127.0.0.1 refused: it hung up"]
    assert not welcome


def test_two_roles_are_the_higher() -> None:
    organisations = ((("organizationName", each.value),) for each in (Role.OPERATOR, Role.READER))
    found = client_of({"subject": (*organisations, (("commonName", "olga"),))})
    assert found.role is Role.OPERATOR


@pytest.mark.parametrize(
    "wrong",
    [
        (),
        ((("commonName", ""),),),
        ((("commonName", "a\nb"),),),
        ((("commonName", "Jos\u00e9"),),),
        ((("commonName", "x" * 65),),),
        ((("commonName", "a"),), (("commonName", "b"),)),
    ],
)
def test_who_has_no_single_name_has_no_role(wrong: tuple[object, ...]) -> None:
    organisation = (("organizationName", Role.OPERATOR.value),)
    assert client_of({"subject": (*wrong, organisation)}).role is None


@given(st.text(max_size=20))
def test_no_other_organisation_is_a_role(text: str) -> None:
    found = {"subject": ((("commonName", "a"),), (("organizationName", text),))}
    role = client_of(found).role
    assert role is None or role.value == text


def test_addresses_as_they_are_shown() -> None:
    assert origin("::ffff:192.0.2.1") == "192.0.2.1"
    assert origin("fe80::1%eth0") == "fe80::1"
    assert origin("") == "unknown"
    assert network("2001:db8::1") == network("2001:db8::2") == "2001:db8::/64"
    assert network("192.0.2.1") == "192.0.2.1"
