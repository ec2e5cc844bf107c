"""The operator's side of the tests of a host's API: certificates, and `bedplate host`."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.run import run, spawn
from builder.vm.wait import wait_until
from hostapi.port import PORT
from site_of_tests import PASSPHRASE, PROJECT, Guest

PROGRAM = str(PROJECT / ".venv/bin/bedplate")
_ENVIRONMENT = {"BEDPLATE_PASSPHRASE": PASSPHRASE}
_SECONDS = 60
_AS_GUESTS_SEE_IT = "10.0.2.2"


def bedplate(*arguments: str) -> str:
    """What the workstation's program prints."""
    return run([PROGRAM, *arguments], env=_ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class Workstation:
    """A folder with a CA, an operator called ops and a reader called eve."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "Workstation":
        """A CA of its own."""
        made = cls(folder)
        made.pki("init")
        made.pki("issue", "operator", "ops")
        made.pki("issue", "reader", "eve")
        return made

    def pki(self, *arguments: str) -> str:
        """What `bedplate pki` prints."""
        return bedplate("pki", *arguments, "--folder", str(self.folder))

    def document_of(self, name: str, url: str, address: str) -> str:
        """The beginning of a document, to its section `bedplate`: the host enrols with a token."""
        path = self.folder / f"{name}.yaml"
        self.pki("token", name, "--url", url, "--address", address, "--snippet", str(path))
        return path.read_text()

    def brought(self, name: str, address: str) -> Path:
        """A document by which a host brings its certificate and key along; new ones each time."""
        path = self.folder / f"{name}.yaml"
        how = ("renew",) if path.exists() else ("issue", "host", "--address", address)
        self.pki(*how, name, "--snippet", str(path))
        return path

    def host(self, guest: Guest, name: str, *words: str, who: str = "ops", port: int = PORT) -> str:
        """What `bedplate host` prints about a guest, whose API listens at `port`."""
        return bedplate(*self.command(guest, name, *words, who=who, port=port))

    def many(self, hosts: Path, *words: str) -> str:
        """What `bedplate host --hosts` prints."""
        identity = str(self.folder / "ops.pem")
        return bedplate("host", "--hosts", str(hosts), *words, "--identity", identity)

    def command(
        self, guest: Guest, name: str, *words: str, who: str = "ops", port: int = PORT
    ) -> tuple[str, ...]:
        """The arguments of `bedplate` that ask a guest."""
        address = f"127.0.0.1:{guest.machine.port(port)}"
        identity = str(self.folder / f"{who}.pem")
        return ("host", address, *words, "--name", name, "--identity", identity)

    @contextmanager
    def following(self, guest: Guest, name: str, output: Path) -> Iterator[Callable[[], str]]:
        """`bedplate host ... logs --follow --json` while the block runs; it ends as with Ctrl-C.

        Gives what tells all that it has written, and that it goes on.
        """
        how = ("--json", "--passphrase-file", str(self._passphrase_file()))
        command = self.command(guest, name, "logs", "--follow", *how)
        process = spawn([PROGRAM, *command], output=output)

        def written() -> str:
            text = output.read_text()
            assert process.poll() is None, text
            return text

        try:
            yield written
            written()
        finally:
            process.send_signal(signal.SIGTERM)
            status = process.wait()
        assert status == 0, status

    @contextmanager
    def issuing(self) -> Iterator[str]:
        """`bedplate pki serve`, for guests; its URL, as they know it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        log = self.folder / "serve.log"
        where = ("--port", str(port), "--name", _AS_GUESTS_SEE_IT, "--folder", str(self.folder))
        how = ("--passphrase-file", str(self._passphrase_file()))
        process = spawn([PROGRAM, "pki", "serve", *where, *how], output=log)
        try:

            def up() -> bool | None:
                assert process.poll() is None, log.read_text()
                return True if "issuing" in log.read_text() else None

            wait_until(up, _SECONDS, "the issuing service")
            yield f"https://{_AS_GUESTS_SEE_IT}:{port}"
        finally:
            process.terminate()
            process.wait()
            print(log.read_text())

    def _passphrase_file(self) -> Path:
        path = self.folder / "passphrase"
        path.write_text(PASSPHRASE)
        return path
