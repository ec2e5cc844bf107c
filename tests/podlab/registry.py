"""Debian's docker-registry with one user, and images pushed to it."""

import base64
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from network import run, wait_for

USER, PASSWORD = "puller", "pull me"
# htpasswd -nbB -C 5 puller "pull me"
_USERS = "puller:$2y$05$Fl3mq1UbohoxlS4y/C9F2ezWtBHbLNk9VuHU0CGQziP8z3btyngRi\n"


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that answers at `name`, by plain http."""

    name: str

    def push(self, image: str, name: str) -> str:
        """Push a local image under a name such as "app:1", and forget it here; its digest."""
        pushed = f"{self.name}/{name}"
        digest = Path("/run") / "pushed-digest"
        run(
            ["podman", "push", "--quiet", "--tls-verify=false", "--digestfile", str(digest)]
            + ["--creds", f"{USER}:{PASSWORD}", image, pushed]
        )
        run(["podman", "image", "rm", image])
        return digest.read_text().strip()

    def credentials(self) -> str:
        """Podman's auth file that has this registry's user."""
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        return json.dumps({"auths": {self.name: {"auth": auth}}})


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextmanager
def registry(folder: Path, port: int) -> Iterator[Registry]:
    """A registry that wants its user's password for everything."""
    folder.mkdir()
    (folder / "users").write_text(_USERS)
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(lambda: _answers(port), "the registry answers")
        yield Registry(f"127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
