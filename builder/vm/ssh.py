"""A way into a test machine: a key of its own and an ssh configuration that follows its port."""

import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization import PublicFormat as Public

from builder import run
from updater.files import write_atomic

HOST_ALIAS = "vm"
_CONNECT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SshKey:
    """An ed25519 key pair.

    Attributes:
        private: the file of the private key, OpenSSH format, not encrypted.
        public: the line for authorized_keys, without a newline.
    """

    private: Path
    public: str


def create_key(folder: Path) -> SshKey:
    """Make a new key in `folder` as `id_ed25519`."""
    key = Ed25519PrivateKey.generate()
    private = folder / "id_ed25519"
    write_atomic(
        private, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600
    )
    public = key.public_key().public_bytes(Encoding.OpenSSH, Public.OpenSSH).decode()
    return SshKey(private, public)


class SshAccess:
    """An ssh configuration with one host, `vm`, that is always the machine as it is now."""

    def __init__(self, folder: Path, key: SshKey) -> None:
        """Keep the configuration at `folder/ssh_config`; it is written by `connect`."""
        self.config = folder / "ssh_config"
        self._key = key
        self._generation = 0
        # ssh's control sockets: a socket's path has 107 bytes at most, and folders may be deep.
        self._sockets = tempfile.TemporaryDirectory(prefix="bedplate-ssh.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def connect(self, port: int) -> None:
        """Lead to this loopback port from now on, by a new connection.

        To be called after every start and reboot of the machine: the connection shared until
        then is dead without knowing it.
        """
        self._hang_up()
        self._generation += 1
        socket = Path(self._sockets.name) / str(self._generation)
        write_atomic(self.config, _configuration(port, self._key, socket).encode(), mode=0o600)

    @property
    def url(self) -> str:
        """What `testinfra.get_host` takes."""
        return f"ssh://{HOST_ALIAS}?ssh_config={quote(str(self.config))}&timeout={_CONNECT_SECONDS}"

    def run(self, *command: str) -> str:
        """Run a command in the machine and return its stdout.

        Raises:
            CommandError: it failed, or ssh did (status 255).
        """
        return run.run(["ssh", "-F", str(self.config), HOST_ALIAS, "--", *command])

    def close(self) -> None:
        """End the shared connection; the key and the configuration stay."""
        self._hang_up()
        self._sockets.cleanup()

    def _hang_up(self) -> None:
        if self._generation and (Path(self._sockets.name) / str(self._generation)).exists():
            with suppress(run.CommandError):  # it has ended by itself
                run.run(["ssh", "-F", str(self.config), "-O", "exit", HOST_ALIAS])


def _configuration(port: int, key: SshKey, socket: Path) -> str:
    """An ssh_config(5) that trusts whoever answers: the port is loopback, the guest just born."""
    return f"""\
Host {HOST_ALIAS}
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile "{str(key.private).replace("%", "%%")}"
    IdentitiesOnly yes
    PreferredAuthentications publickey
    BatchMode yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /dev/null
    LogLevel ERROR
    ConnectTimeout {_CONNECT_SECONDS}
    ServerAliveInterval 5
    ServerAliveCountMax 6
    ControlMaster auto
    ControlPersist 60
    ControlPath "{socket}"
"""
