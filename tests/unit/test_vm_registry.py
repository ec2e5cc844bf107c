"""A registry for pulls: what a client reads of it, and who keeps it from answering."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPSConnection
from pathlib import Path, PurePosixPath

import pytest
import requests

from builder.vm.ociimage import ImageFile, make_image
from builder.vm.registry import Registry, answers, serving

IMAGE = make_image([ImageFile(PurePosixPath("page"), b"hello\n")], ["app"])
TOP = "/v2/team/app"


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with serving({"team/app:1": IMAGE}, "127.0.0.1") as one:
        yield one


@pytest.fixture
def client(registry: Registry, tmp_path: Path) -> Iterator[requests.Session]:
    trusted = tmp_path / "ca.pem"
    trusted.write_text(registry.certificate)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(trusted)
        yield session


def get(
    client: requests.Session, registry: Registry, path: str, method: str = "GET"
) -> requests.Response:
    return client.request(method, f"https://127.0.0.1:{registry.port}{path}", timeout=60)


def test_what_is_answered_is_what_a_pull_asks() -> None:
    config, layer = IMAGE.parts
    assert answers({"team/app:1": IMAGE}).keys() == {
        "/v2/",
        f"{TOP}/manifests/1",
        f"{TOP}/manifests/{IMAGE.manifest.digest}",
        f"{TOP}/blobs/{config.digest}",
        f"{TOP}/blobs/{layer.digest}",
    }


@pytest.mark.parametrize("reference", ["1", IMAGE.manifest.digest])
def test_a_manifest(registry: Registry, reference: str) -> None:
    trusted = ssl.create_default_context(cadata=registry.certificate)
    # On one connection: what is said too much before would stand where an answer is to begin.
    with closing(HTTPSConnection("127.0.0.1", registry.port, timeout=60, context=trusted)) as one:
        for method, body in (("HEAD", b""), ("GET", IMAGE.manifest.data)):
            one.request(method, f"{TOP}/manifests/{reference}")
            answer = one.getresponse()
            assert (answer.status, answer.read()) == (200, body)
            assert answer.headers["Content-Type"] == IMAGE.manifest.media_type
            assert answer.headers["Content-Length"] == str(len(IMAGE.manifest.data))
            assert answer.headers["Docker-Content-Digest"] == IMAGE.manifest.digest


def test_blobs(client: requests.Session, registry: Registry) -> None:
    assert get(client, registry, "/v2/").status_code == 200
    for each in IMAGE.parts:
        assert get(client, registry, f"{TOP}/blobs/{each.digest}").content == each.data


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{TOP}/manifests/2", 404),
        ("GET", f"{TOP}/blobs/{IMAGE.manifest.digest}", 404),
        ("GET", "/", 404),
        ("PUT", f"{TOP}/manifests/1", 501),
        ("POST", f"{TOP}/blobs/uploads/", 501),
    ],
)
def test_nothing_else(
    client: requests.Session, registry: Registry, method: str, path: str, status: int
) -> None:
    assert get(client, registry, path, method).status_code == status


def test_whoever_does_not_trust_it_gets_nothing(registry: Registry) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"https://127.0.0.1:{registry.port}/v2/", timeout=60)


def test_one_that_says_nothing_keeps_nobody_waiting(
    client: requests.Session, registry: Registry
) -> None:
    with socket.create_connection(("127.0.0.1", registry.port)):
        assert get(client, registry, "/v2/").status_code == 200
