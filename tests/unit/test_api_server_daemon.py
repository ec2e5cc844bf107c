"""The program itself: sockets passed on, READY, SIGTERM."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api_kit import SECONDS, Certificates
from hostapi.daemon import listeners, main
from updater.errors import InputError

DIST = Path(__file__).parents[2] / "cloud-config/dist"
# LISTEN_PID is the program's own, which only itself knows before it runs.
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execv(sys.executable, [sys.executable, "-m", "hostapi.daemon", "--root", sys.argv[2]])
"""


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


class Host:
    """A port that outlives the program behind it, as systemd's does."""

    def __init__(self, certificates: Certificates, root: Path) -> None:
        self.certificates, self.root = certificates, root
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}/v1"
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(root / "notify"))
        self.notified.settimeout(SECONDS)

    def close(self) -> None:
        self.listener.close()
        self.notified.close()

    @contextmanager
    def program(self) -> Iterator[subprocess.Popen[str]]:
        """The program, once it is ready."""
        descriptor = self.listener.fileno()
        with subprocess.Popen(
            (sys.executable, "-c", _START, str(descriptor), str(self.root)),
            pass_fds=(descriptor,),
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PYTHONPATH": os.pathsep.join(sys.path),
                "CREDENTIALS_DIRECTORY": str(self.certificates.host),
                "NOTIFY_SOCKET": str(self.root / "notify"),
            },
        ) as found:
            try:
                self.wait_for(b"READY=1")
                yield found
            finally:
                found.kill()

    def wait_for(self, word: bytes) -> None:
        while word not in self.notified.recv(1000):
            pass


@pytest.fixture
def host(certificates: Certificates, tmp_path: Path) -> Iterator[Host]:
    found = Host(certificates, tmp_path)
    yield found
    found.close()


def test_a_stream_is_told_of_the_end_and_who_comes_then_waits(host: Host) -> None:
    acts = host.root / "run/bedplate/api/acts.sock"
    acts.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as root, host.certificates.session("olga") as session:
        root.bind(str(acts))
        root.listen()
        root.settimeout(SECONDS)
        with host.program() as program:
            found: list[str] = []

            def follow() -> None:
                answer = session.post(f"{host.url}/update/stage", stream=True, timeout=SECONDS)
                found.extend(answer.iter_lines(decode_unicode=True))

            thread = threading.Thread(target=follow)
            thread.start()
            connection, _ = root.accept()
            connection.sendall(b'{"progress": {"done": 1}}\n')
            with host.certificates.session("rita") as other:
                while "streams 1\n" not in other.get(f"{host.url}/metrics", timeout=SECONDS).text:
                    pass
            program.send_signal(signal.SIGTERM)
            thread.join(SECONDS)
            _, told = program.communicate(timeout=SECONDS)
            connection.close()
            assert program.returncode == 0
        progress, error = map(json.loads, found)
        assert progress == {"progress": {"done": 1}}
        assert error["error"]["code"] == "crowded"
        assert '"olga" (operator) from 127.0.0.1: stage: 200\n' in told
        assert "Traceback" not in told

        codes: list[int] = []
        waiting = threading.Thread(
            target=lambda: codes.append(
                session.get(f"{host.url}/status", timeout=SECONDS).status_code
            )
        )
        waiting.start()
        with host.program():
            waiting.join(SECONDS)
        assert codes == [200]


def test_nothing_is_wrong_where_nothing_is(host: Host) -> None:
    with host.program(), host.certificates.session("rita") as session:
        for path, code in (("status", 200), ("metrics", 200), ("pods", 404), ("update", 500)):
            assert session.get(f"{host.url}/{path}", timeout=SECONDS).status_code == code


def test_wrong_certificates_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert main(("--root", str(tmp_path))) == 2
    assert capsys.readouterr().err.startswith("bedplate: host.pem and host.key: No such file")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"},
        {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"},
    ],
)
def test_no_socket_is_told(environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"bedplate-api\.socket"):
        listeners(environment)
    assert environment == {}


def test_the_unit_has_no_rights() -> None:
    unit = (DIST / "bedplate-api.service").read_text()
    settings = dict(re.findall(r"^([A-Za-z]+)=(.*)$", unit, re.MULTILINE))
    assert settings["User"] == "bedplate-api"
    assert settings["CapabilityBoundingSet"] == settings["AmbientCapabilities"] == ""
    assert settings["RestrictAddressFamilies"] == "AF_UNIX"
    assert settings["ProtectSystem"] == "strict"
    assert "ReadWritePaths" not in settings
    assert re.findall(r"^Exec\w+=(\S+)", unit, re.MULTILINE) == ["/usr/bin/bedplate-api"]
