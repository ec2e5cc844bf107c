"""A running virtual machine: power, console, monitor, saved states."""

import logging
import math
import os
import re
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from builder import run
from builder.run import Sandbox
from builder.vm import disks
from builder.vm.config import Accelerator, MachineConfig, arguments
from builder.vm.qmp import Event, Qmp, QmpClosedError
from builder.vm.wait import Deadline, VmError, WaitError, wait_until

_log = logging.getLogger(__name__)

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LINE_END = re.compile(r"\r+\n?")  # a terminal adds one \r to those that programs write
_FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+\S+\s+(\d+)")
_SHOWN_LINES = 40
_END_SECONDS = 300.0

T = TypeVar("T")


class Process(Protocol):
    """What is needed of `subprocess.Popen`, which only `builder.run` may know."""

    @property
    def pid(self) -> int:
        """The process id."""

    def poll(self) -> int | None:
        """The exit status, None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status."""


class Machine:
    """One QEMU, started by `with` or `start`, ended by `kill` or `quit`, as often as one likes.

    What the guest wrote stays in the machine's folder from one start to the next. QEMU dies
    with the thread that started it, so start it from one that lives on.
    """

    def __init__(self, config: MachineConfig, tree: Path) -> None:
        """Remember what to start.

        Args:
            config: the machine.
            tree: the tool tree that QEMU and its firmware come from.
        """
        self.config = config
        self._tree = tree
        self._process: Process | None = None
        self._qmp: Qmp | None = None
        self._mark = 0

    def __enter__(self) -> Self:
        if not self.running:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()
        if error is not None and isinstance(error, Exception):
            _log.error("the end of %s:\n%s", self.config.console, self.last_lines())

    # Power

    @property
    def running(self) -> bool:
        """Whether QEMU runs (the guest may be hung or halted)."""
        return self._process is not None and self._process.poll() is None

    @property
    def monitor(self) -> Qmp:
        """QEMU's monitor.

        Raises:
            VmError: the machine is off.
        """
        if self._qmp is None:
            raise VmError(f"the machine in {self.config.folder} is off")
        return self._qmp

    def start(self, snapshot: str | None = None) -> None:
        """Switch the machine on, or wake it up in the state saved as `snapshot`.

        Raises:
            VmError: it runs already, or QEMU ended at once; the message holds what it said.
            InputError: the image is missing or unfit.
        """
        if self.running:
            raise VmError(f"the machine in {self.config.folder} runs already")
        disks.prepare(self._tree, self.config)
        self._mark = self.console_size()
        said = _size(self.config.log)
        # A socket's path has 107 bytes at most, and a test's folder may be deep.
        with tempfile.TemporaryDirectory(prefix="bedplate-vm.") as short:
            monitor = Path(short) / "qmp"
            sandbox = _sandbox(self._tree, self.config, monitor.parent)
            command = sandbox.argv(arguments(self.config, monitor, snapshot))
            self._process = run.spawn(command, output=self.config.log)
            try:
                wait_until(lambda: self._listens(monitor), _END_SECONDS, "QEMU's monitor")
                self._qmp = Qmp(monitor)
            except QmpClosedError:
                self._process.wait(_END_SECONDS)  # it hung up, so its end is near
                self._forget()
                text = self.config.log.read_bytes()[said:].decode(errors="replace").strip()
                raise VmError(f"QEMU ended at once: {text or 'without a word'}") from None
            except BaseException:
                self.kill()
                raise

    def _listens(self, monitor: Path) -> bool | None:
        if not self.running:
            raise QmpClosedError("QEMU ended before it listened")
        return monitor.is_socket() or None

    def kill(self) -> None:
        """Cut the power: end QEMU between two instructions. Harmless when it is off."""
        if self._process is not None and self._process.poll() is None:
            # What we started is bubblewrap, with QEMU below it. It ends when QEMU is wholly gone,
            # and only then are the locks on the disks free for the next start.
            for pid in list(_descendants(self._process.pid)) or [self._process.pid]:
                _kill(pid)
            self._process.wait(_END_SECONDS)
        self._forget()

    def quit(self) -> None:
        """End QEMU in order, so that its files are whole; the guest is not asked."""
        self.monitor.execute("quit")
        self.wait_for_end(_END_SECONDS)

    def reset(self) -> None:
        """Press the reset button."""
        self._mark = self.console_size()
        self.monitor.execute("system_reset")

    def wait_for_end(self, seconds: float) -> None:
        """Wait until QEMU has ended: the guest powered off, or rebooted with `reboots` off.

        Raises:
            WaitError: it still runs after `seconds`.
        """
        wait_until(lambda: None if self.running else True, seconds, f"the end of {self}")
        self._forget()

    def _forget(self) -> None:
        if self._qmp is not None:
            self._qmp.close()
        self._qmp = None
        self._process = None

    # Saved states

    def save(self, name: str) -> None:
        """Save the whole machine, memory included, inside its disk under `name`.

        Raises:
            VmError: QEMU could not, say because a writable disk is not qcow2.
        """
        self._human(f"savevm {name}", 600)

    def load(self, name: str) -> None:
        """Turn the running machine back to the state saved as `name`.

        Raises:
            VmError: there is no such state.
        """
        self._mark = self.console_size()
        self._human(f"loadvm {name}", 600)

    def _human(self, line: str, seconds: float) -> None:
        answer = self.monitor.human(line, seconds=seconds).strip()
        if answer:  # these commands are silent when they work
            raise VmError(f"QEMU: {line}: {answer}")

    # Network

    def port(self, guest: int) -> int:
        """The loopback port that leads to a TCP port of the guest.

        Raises:
            VmError: that port is not forwarded.
        """
        table = self.monitor.human("info usernet")
        for host_port, guest_port in _FORWARD.findall(table):
            if int(guest_port) == guest:
                return int(host_port)
        raise VmError(f"port {guest} of {self} is not forwarded; QEMU's table:\n{table}")

    def wait_for_ssh(self, seconds: float, guest: int = 22) -> int:
        """Wait until the guest's ssh server greets, and return the loopback port to it.

        QEMU accepts connections whether or not the guest listens, hence the wait for its words.

        Raises:
            WaitError: no greeting within `seconds`.
            VmError: QEMU ended.
        """
        port = self.port(guest)
        self._wait(lambda: _greets(port), seconds, "the ssh server")
        return port

    # Console

    def console_size(self) -> int:
        """The bytes written to the console so far: a mark for `since`."""
        return _size(self.config.console)

    def console(self, since: int | None = None) -> str:
        """What the guest wrote, without escape sequences.

        Args:
            since: from this mark on; from the last start, reset or load when None.
        """
        try:
            with self.config.console.open("rb") as stream:
                stream.seek(self._mark if since is None else since)
                raw = stream.read()
        except FileNotFoundError:
            return ""
        text = _ESCAPE.sub("", raw.decode(errors="replace"))
        return _LINE_END.sub("\n", text)

    def last_lines(self, count: int = _SHOWN_LINES) -> str:
        """The end of the console."""
        return "\n".join(self.console().rstrip().splitlines()[-count:])

    def wait_for_console(
        self, pattern: str, seconds: float, since: int | None = None
    ) -> re.Match[str]:
        """Wait until the console matches a regular expression (MULTILINE) and return the match.

        Args:
            pattern: the expression.
            seconds: the deadline.
            since: look only behind this mark; behind the last start, reset or load when None.

        Raises:
            WaitError: it did not come within `seconds`.
            VmError: QEMU ended without it.
        """
        compiled = re.compile(pattern, re.MULTILINE)
        return self._wait(
            lambda: compiled.search(self.console(since)), seconds, f"{pattern!r} on the console"
        )

    def follow_console(self, since: int | None = None) -> Iterator[bytes]:
        """Yield the console's raw bytes as they come, until QEMU has ended."""
        position = self._mark if since is None else since

        def more() -> bytes | None:
            running = self.running
            if self.console_size() > position:
                with self.config.console.open("rb") as stream:
                    stream.seek(position)
                    return stream.read()
            return None if running else b""

        while raw := wait_until(more, math.inf, "the console"):
            position += len(raw)
            yield raw

    # Events

    def events(self) -> tuple[Event, ...]:
        """QEMU's events since the start that nobody has waited for yet."""
        return self.monitor.events()

    def wait_for_reboot(self, seconds: float) -> None:
        """Wait until the guest reboots, by itself or by its watchdog; each reboot counts once.

        With `reboots` off in the configuration this is the end of QEMU.

        Raises:
            WaitError: it did not within `seconds`.
            VmError: QEMU ended without a reboot.
        """
        deadline = Deadline(seconds)
        name = "RESET" if self.config.reboots else "SHUTDOWN"
        while True:
            try:
                event = self.monitor.wait_for_event(name, deadline.left)
            except WaitError:
                raise WaitError(f"waited {seconds:g} s in vain for a reboot of {self}") from None
            if event.data.get("reason") == "guest-reset":
                break
        if not self.config.reboots:
            self.wait_for_end(_END_SECONDS)

    def _wait(self, condition: Callable[[], T | None], seconds: float, what: str) -> T:
        """Wait as `wait_until` does, but not for what a QEMU that has ended will never do."""

        def answer() -> T | None:
            running = self.running
            result = condition()
            if result is None and not running:
                raise VmError(f"QEMU ended before {what} came from {self}")
            return result

        return wait_until(answer, seconds, f"{what} of {self}")

    def __str__(self) -> str:
        return f"the machine in {self.config.folder}"


def _sandbox(tree: Path, config: MachineConfig, monitor: Path) -> Sandbox:
    """The view QEMU has: the machine's folder, and the files it is given."""
    given = [disk for disk in config.disks if disk.path.parent != config.folder]
    readable = [disk.path for disk in given if disk.read_only]
    readable += config.fw_cfg.values()
    if config.image is not None:
        readable.append(config.image.resolve())
    if config.kernel is not None:
        readable.append(config.kernel.kernel)
        readable += [] if config.kernel.initrd is None else [config.kernel.initrd]
    writable = [disk.path for disk in given if not disk.read_only]
    return Sandbox(
        tree,
        writable=(config.folder, monitor, *writable),
        readable=tuple(readable),
        devices=(Path("/dev/kvm"),) if config.accelerator is Accelerator.KVM else (),
    )


def _descendants(pid: int) -> Iterator[int]:
    """The processes below `pid`, parents first (proc_pid_children(5))."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found = children.read_text().split()
        except OSError:  # that thread has ended meanwhile
            continue
        for child in found:
            yield int(child)
            yield from _descendants(int(child))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _greets(port: int) -> bool | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-" or None
    except OSError:
        return None
