import json
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from builder.vm.qmp import Qmp, QmpClosedError, QmpError
from builder.vm.wait import WaitError

GREETING: dict[str, object] = {"QMP": {"version": {}, "capabilities": []}}
Answer = Callable[[dict[str, object]], list[object]]


class FakeQemu:
    """Listens as QEMU does, and answers each command with what a function says."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commands: list[dict[str, object]] = []
        self.greeting: object = GREETING
        self.answer: Answer = lambda command: [{"return": {}, "id": command["id"]}]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with suppress(BrokenPipeError), connection, connection.makefile("rwb") as stream:
            self._send(stream.write, self.greeting)
            stream.flush()
            for line in stream:
                command = json.loads(line)
                self.commands.append(command)
                if command["execute"] == "qmp_capabilities":
                    answers: list[object] = [{"return": {}, "id": command["id"]}]
                else:
                    answers = self.answer(command)
                for one in answers:
                    if one is None:
                        return
                    self._send(stream.write, one)
                stream.flush()

    @staticmethod
    def _send(write: Callable[[bytes], int], message: object) -> None:
        write(message if isinstance(message, bytes) else json.dumps(message).encode() + b"\r\n")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def qemu() -> Iterator[FakeQemu]:
    with tempfile.TemporaryDirectory() as short:
        fake = FakeQemu(Path(short) / "qmp")
        yield fake
        fake.close()


def event(name: str, **data: object) -> dict[str, object]:
    return {"event": name, "data": data, "timestamp": {"seconds": 1, "microseconds": 2}}


def test_capabilities_are_negotiated_before_the_first_command(qemu: FakeQemu) -> None:
    with Qmp(qemu.path) as monitor:
        monitor.execute("query-status")
    assert [one["execute"] for one in qemu.commands] == ["qmp_capabilities", "query-status"]


def test_arguments_go_out_and_the_answer_comes_back(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [{"return": [1, {"a": 2}], "id": command["id"]}]
    with Qmp(qemu.path) as monitor:
        assert monitor.execute("do", {"x": "ä"}) == [1, {"a": 2}]
    assert qemu.commands[-1]["arguments"] == {"x": "ä"}


def test_a_human_line_returns_its_text(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [{"return": "Error: no\r\n", "id": command["id"]}]
    with Qmp(qemu.path) as monitor:
        assert monitor.human("savevm a") == "Error: no\r\n"
    assert qemu.commands[-1]["arguments"] == {"command-line": "savevm a"}


def test_an_error_names_the_command_and_qemus_reason(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [
        {"error": {"class": "GenericError", "desc": "no such thing"}, "id": command["id"]}
    ]
    with Qmp(qemu.path) as monitor, pytest.raises(QmpError, match="refused eject: no such thing"):
        monitor.execute("eject")


def test_events_among_answers_are_kept_in_order(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [
        event("STOP"),
        event("RESET", guest=True),
        {"return": 7, "id": command["id"]},
        event("RESUME"),
    ]
    with Qmp(qemu.path) as monitor:
        assert monitor.execute("x") == 7
        assert monitor.wait_for_event("RESUME", 10).name == "RESUME"
        assert monitor.wait_for_event("RESET", 0).data == {"guest": True}
        assert [one.name for one in monitor.events()] == ["STOP"]
        monitor.forget_events()
        assert monitor.events() == ()


def test_each_event_is_waited_for_once(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [event("RESET"), {"return": 7, "id": command["id"]}]
    with Qmp(qemu.path) as monitor:
        monitor.execute("x")
        monitor.wait_for_event("RESET", 0)
        with pytest.raises(WaitError, match="RESET"):
            monitor.wait_for_event("RESET", 0)


def test_a_late_answer_is_not_taken_for_the_next_ones(qemu: FakeQemu) -> None:
    late: list[object] = []

    def answer(command: dict[str, object]) -> list[object]:
        late.append({"return": command["execute"], "id": command["id"]})
        return [] if command["execute"] == "slow" else list(late)

    qemu.answer = answer
    with Qmp(qemu.path) as monitor:
        with pytest.raises(WaitError, match=r"slow within 0\.01 s"):
            monitor.execute("slow", seconds=0.01)
        assert monitor.execute("fast") == "fast"


def test_a_long_answer_arrives_whole(qemu: FakeQemu) -> None:
    qemu.answer = lambda command: [{"return": "x" * 300_000, "id": command["id"]}]
    with Qmp(qemu.path) as monitor:
        assert len(str(monitor.execute("x"))) == 300_000


def test_an_endless_line_is_given_up(qemu: FakeQemu) -> None:
    qemu.answer = lambda _: [b"x" * (3 << 20), None]
    with Qmp(qemu.path) as monitor, pytest.raises(QmpError, match="a line of more than"):
        monitor.execute("x")


def test_the_end_of_qemu_is_told_from_silence(qemu: FakeQemu) -> None:
    qemu.answer = lambda _: [event("SHUTDOWN"), None]
    with Qmp(qemu.path) as monitor:
        with pytest.raises(QmpClosedError):
            monitor.execute("quit")
        assert [one.name for one in monitor.events()] == ["SHUTDOWN"]
        with pytest.raises(QmpClosedError):
            monitor.wait_for_event("RESET", 10)


@pytest.mark.parametrize("greeting", [b"SSH-2.0\n", b"[1]\n", {"hello": 1}])
def test_whoever_is_no_monitor_is_refused(qemu: FakeQemu, greeting: object) -> None:
    qemu.greeting = greeting
    with pytest.raises(QmpError, match="monitor"):
        Qmp(qemu.path)


def test_nobody_listening_is_said_at_the_deadline(tmp_path: Path) -> None:
    with pytest.raises(WaitError, match="monitor"):
        Qmp(tmp_path / "none", seconds=0)
