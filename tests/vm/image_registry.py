"""Debian's docker-registry, for guests: by https, with one user, on this machine's loopback."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import requests

from builder.run import Sandbox, spawn
from builder.vm.certificate import self_signed
from builder.vm.ociimage import Blob, Image, ImageFile, make_image
from builder.vm.wait import wait_until
from site_of_tests import CACHE
from tests.lab import lab_tree

USER, PASSWORD = "puller", "pull me"
# htpasswd -nbB -C 5 puller "pull me"
_USERS = "puller:$2y$05$Fl3mq1UbohoxlS4y/C9F2ezWtBHbLNk9VuHU0CGQziP8z3btyngRi\n"
_HOST = "10.0.2.2"  # this machine, as guests see it
_SECONDS = 60
_APPLETS = ("cat", "echo", "httpd", "id", "nslookup", "sh", "sleep", "stat", "wget")


@dataclass(frozen=True, slots=True)
class ImageRegistry:
    """A registry that runs; `certificate` is what clients have to trust, in PEM."""

    port: int
    folder: Path
    certificate: str

    @property
    def name(self) -> str:
        """How guests call it."""
        return f"{_HOST}:{self.port}"

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Put an image there, as the OCI's distribution specification has it."""
        with requests.Session() as session:
            session.trust_env = False
            session.auth = (USER, PASSWORD)
            session.verify = str(self.folder / "certificate.pem")
            # The certificate is for the name that guests use.
            session.mount("https://", _NamedByGuests())
            base = f"https://127.0.0.1:{self.port}/v2/{repository}"
            for each in image.parts:
                self._upload(session, base, each)
            put = session.put(
                f"{base}/manifests/{tag}",
                data=image.manifest.data,
                headers={"Content-Type": image.manifest.media_type},
                timeout=_SECONDS,
            )
            put.raise_for_status()

    @staticmethod
    def _upload(session: requests.Session, base: str, blob: Blob) -> None:
        begun = session.post(f"{base}/blobs/uploads/", timeout=_SECONDS)
        begun.raise_for_status()
        done = session.put(
            begun.headers["Location"],
            params={"digest": blob.digest},
            data=blob.data,
            headers={"Content-Type": "application/octet-stream"},
            timeout=_SECONDS,
        )
        done.raise_for_status()


class _NamedByGuests(requests.adapters.HTTPAdapter):
    def cert_verify(self, conn: object, *args: object) -> None:
        conn.assert_hostname = _HOST  # type: ignore[attr-defined] # urllib3's
        super().cert_verify(conn, *args)  # type: ignore[no-untyped-call]


@contextmanager
def serving(folder: Path) -> Iterator[ImageRegistry]:
    """An empty registry."""
    folder.mkdir()
    certificate, key = self_signed(_HOST)
    (folder / "certificate.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    (folder / "users").write_text(_USERS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {
            "addr": f"127.0.0.1:{port}",
            "tls": {
                "certificate": str(folder / "certificate.pem"),
                "key": str(folder / "key.pem"),
            },
        },
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "users")}},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    sandbox = Sandbox(lab_tree(CACHE, on_line=print), writable=(folder,))
    command = ["docker-registry", "serve", str(folder / "config.yml")]
    process = spawn(sandbox.argv(command), output=folder / "log")
    try:

        def up() -> bool | None:
            assert process.poll() is None, (folder / "log").read_text()
            with socket.socket() as client:
                client.settimeout(1)
                return True if client.connect_ex(("127.0.0.1", port)) == 0 else None

        wait_until(up, _SECONDS, "the registry")
        yield ImageRegistry(port, folder, certificate.decode())
    finally:
        process.terminate()
        process.wait()


def busybox(*, said: str) -> Image:
    """An image of busybox whose web server says `said`, and which has a user 1000."""
    program = (lab_tree(CACHE, on_line=print) / "usr/bin/busybox").read_bytes()
    files = [
        ImageFile(PurePosixPath("bin/busybox"), program, mode=0o755),
        *(ImageFile(PurePosixPath("bin") / each, link="busybox") for each in _APPLETS),
        ImageFile(PurePosixPath("etc/passwd"), b"root:x:0:0::/:/bin/sh\nweb:x:1000:1000::/:\n"),
        ImageFile(PurePosixPath("www/index.html"), said.encode()),
    ]
    return make_image(files, ("httpd", "-f", "-h", "/www"))
