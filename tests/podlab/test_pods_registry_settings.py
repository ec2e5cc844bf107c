"""What a document says of registries, as podman takes it when the agent runs it."""

import base64
import json
import socket
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pods import FOREVER, instance

from builder.vm.ociimage import Blob, Image, ImageFile, make_image, manifest_of
from builder.vm.registry import serving
from cloudconfig.desired import File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.rendering import render_all
from network import run
from podagent.actions import Play, Pull
from podagent.podman import Podman, PodmanError

_CERTIFICATES = Path("/etc/ssl/certs")
_CONTAINERS = Path("/etc/containers")


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    """What podman reads is as before afterwards, and images are gone."""
    before = {each: each.read_bytes() for each in _CONTAINERS.rglob("*") if each.is_file()}
    run(["mount", "-t", "tmpfs", "tmpfs", str(_CERTIFICATES)])
    yield
    run(["umount", str(_CERTIFICATES)])
    for each in _CONTAINERS.rglob("*"):
        if each.is_file() and each not in before:
            each.unlink()
    for path, content in before.items():
        path.write_bytes(content)
    for line in run(["podman", "images", "--format", "{{.Repository}} {{.Id}}"]).splitlines():
        repository, image = line.split()
        if not repository.startswith("localhost/busybox"):
            run(["podman", "image", "rm", "--force", "--ignore", image])


def _image(extra: bytes = b"") -> Image:
    program = Path("/usr/bin/busybox").read_bytes()
    files = [
        ImageFile(PurePosixPath("bin/busybox"), program, 0o755),
        ImageFile(PurePosixPath("bin/sleep"), link="busybox"),
        ImageFile(PurePosixPath("etc/extra"), extra),
    ]
    return make_image(files, ["sleep", "100000"])


def _apply(document: str) -> None:
    """Write what a document says to podman, as the host's agent does."""
    config = read_document(f"#cloud-config\n{document}".encode(), Path("c.yaml")).config
    for each in render_all(config, Facts()).items:
        if any(each.path.is_relative_to(top) for top in (_CONTAINERS, _CERTIFICATES)):
            assert isinstance(each, File)
            path = Path(each.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(each.content)
            path.chmod(each.mode)


def _trusting(certificate: str) -> str:
    return f"ca_certs:\n  trusted:\n  - |\n{textwrap.indent(certificate, '    ')}"


# --- Signatures -----------------------------------------------------------------------------------


def _signed(image: Image, key: ec.EllipticCurvePrivateKey) -> Image:
    """Sigstore's signature of an image, which is an image too (cosign's SIGNATURE_SPEC.md)."""
    payload = json.dumps(
        {
            "critical": {
                "identity": {"docker-reference": "example.org/app"},
                "image": {"docker-manifest-digest": image.manifest.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    ).encode()
    layer = Blob("application/vnd.dev.cosign.simplesigning.v1+json", payload)
    signature = base64.b64encode(key.sign(payload, ec.ECDSA(hashes.SHA256()))).decode()
    config = Blob("application/vnd.oci.image.config.v1+json", b"{}")
    annotations = {"dev.cosignproject.cosign/signature": signature}
    return Image(manifest_of(config, layer, annotations), (config, layer))


def test_only_images_that_are_signed(podman: Podman) -> None:
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    good, bare, foreign = _image(), _image(b"bare"), _image(b"foreign")

    def tag(image: Image) -> str:
        return f"app:{image.manifest.digest.replace(':', '-')}.sig"

    images = {"app:good": good, "app:bare": bare, "app:foreign": foreign, "other:1": good}
    images |= {tag(good): _signed(good, key), tag(foreign): _signed(foreign, other)}
    with serving(images, "127.0.0.1") as registry:
        name = f"127.0.0.1:{registry.port}/app"
        demand = {
            "type": "sigstoreSigned",
            "keyData": base64.b64encode(public).decode(),
            "signedIdentity": {"type": "exactRepository", "dockerRepository": "example.org/app"},
        }
        policy = {"default": [{"type": "reject"}], "transports": {"docker": {name: [demand]}}}
        said = f"bedplate: {{signature_policy: '{json.dumps(policy)}'}}\n"
        _apply(said + _trusting(registry.certificate))
        podman.apply(Pull(f"{name}@{good.manifest.digest}", ()))
        podman.apply(Pull(f"{name}:good", ()))
        for image, why in (
            ("bare", "A signature was required, but no signature exists"),
            ("foreign", "cryptographic signature verification failed"),
        ):
            with pytest.raises(PodmanError, match=why):
                podman.apply(Pull(f"{name}:{image}", ()))
        # What the policy says nothing of is refused.
        with pytest.raises(PodmanError, match="rejected by policy"):
            podman.apply(Pull(f"127.0.0.1:{registry.port}/other:1", ()))


# --- Proxies --------------------------------------------------------------------------------------


class _Proxy(ThreadingHTTPServer):
    """Takes everybody who wants anywhere to one port of 127.0.0.1."""

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyHandler)
        self.port = port
        self.asked: list[str] = []


class _ProxyHandler(BaseHTTPRequestHandler):
    server: _Proxy

    def do_CONNECT(self) -> None:
        self.server.asked.append(self.path)
        with socket.create_connection(("127.0.0.1", self.server.port)) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_carry, args=(there, self.connection), daemon=True)
            back.start()
            _carry(self.connection, there)
            back.join()

    def log_message(self, *_: object) -> None:
        pass


def _carry(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_pulls_take_the_proxy_and_containers_do_not(podman: Podman) -> None:
    with (
        serving({"app:1": _image()}, "192.0.2.7") as registry,
        _Proxy(registry.port) as proxy,
    ):
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            said = f"bedplate: {{proxy: {{https: 'http://me:sesame@127.0.0.1:{proxy.server_port}'}}}}\n"
            _apply(said + _trusting(registry.certificate))
            podman.apply(Pull("192.0.2.7/app:1", ()))
        finally:
            proxy.shutdown()
    assert set(proxy.asked) == {"192.0.2.7:443"}
    podman.apply(Play(instance("web", {"main": FOREVER}, image="192.0.2.7/app:1")))
    (container,) = json.loads(run(["podman", "container", "inspect", "web-main"]))
    assert any(each.startswith("PATH=") for each in container["Config"]["Env"])
    assert not any("sesame" in each for each in container["Config"]["Env"])
