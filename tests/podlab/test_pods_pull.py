"""Images from a registry: by tag and digest, with credentials, mirrors and a signature policy."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pod_fixtures import make_image
from registry import Registry, registry

from network import run
from podagent.actions import Pull
from podagent.podman import Podman, PodmanError

_AUTH = Path("/run/containers/0/auth.json")
_DROP_IN = Path("/etc/containers/registries.conf.d/50-bedplate.conf")
_POLICY = Path("/etc/containers/policy.json")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Registry]:
    """A registry, and its credentials and its lack of TLS told to podman."""
    policy = _POLICY.read_bytes()
    with registry(tmp_path / "registry", 5000) as one:
        _AUTH.parent.mkdir(parents=True, exist_ok=True)
        _AUTH.write_text(one.credentials())
        _DROP_IN.parent.mkdir(exist_ok=True)
        _DROP_IN.write_text(f'[[registry]]\nlocation = "{one.name}"\ninsecure = true\n')
        yield one
    _POLICY.write_bytes(policy)
    for each in (_AUTH, _DROP_IN):
        each.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Iterator[str]:
    """An image to push; gone afterwards are all that are not of the lab."""
    name = "localhost/app:1"
    make_image(name, tmp_path, extra=str(tmp_path).encode())
    yield name
    for line in run(["podman", "images", "--format", "{{.Repository}} {{.Id}}"]).splitlines():
        repository, image = line.split()
        if not repository.startswith("localhost/busybox"):
            run(["podman", "image", "rm", "--force", "--ignore", image])


def test_by_tag_and_by_digest(podman: Podman, served: Registry, app: str) -> None:
    digest = served.push(app, "app:1")
    podman.apply(Pull(f"{served.name}/app:1", ()))
    (image,) = [each for each in podman.observe().images if f"{served.name}/app:1" in each.names]
    assert f"{served.name}/app@{digest}" in image.names
    run(["podman", "image", "rm", f"{served.name}/app:1"])
    podman.apply(Pull(f"{served.name}/app@{digest}", ()))
    assert any(f"{served.name}/app@{digest}" in each.names for each in podman.observe().images)


def test_without_credentials(podman: Podman, served: Registry, app: str) -> None:
    served.push(app, "app:1")
    _AUTH.unlink()
    with pytest.raises(PodmanError, match=r"^podman pull: .*authentication required"):
        podman.apply(Pull(f"{served.name}/app:1", ()))


def test_an_image_that_the_registry_has_not(podman: Podman, served: Registry, app: str) -> None:
    served.push(app, "app:1")
    with pytest.raises(PodmanError, match=r"^podman pull: .*manifest unknown"):
        podman.apply(Pull(f"{served.name}/app:2", ()))


def test_a_mirror(podman: Podman, served: Registry, app: str) -> None:
    served.push(app, "mirrored/app:1")
    _DROP_IN.write_text(
        '[[registry]]\nprefix = "registry.example.invalid"\n'
        'location = "registry.example.invalid"\n\n'
        f'[[registry.mirror]]\nlocation = "{served.name}/mirrored"\ninsecure = true\n'
    )
    podman.apply(Pull("registry.example.invalid/app:1", ()))
    assert any("registry.example.invalid/app:1" in each.names for each in podman.observe().images)


def test_an_unsigned_image_where_signatures_are_demanded(
    podman: Podman, served: Registry, app: str, tmp_path: Path
) -> None:
    served.push(app, "app:1")
    key = tmp_path / "key.pub"
    run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-out", str(tmp_path / "key")])
    run(["openssl", "ec", "-in", str(tmp_path / "key"), "-pubout", "-out", str(key)])
    demand = [{"type": "sigstoreSigned", "keyPath": str(key)}]
    policy = {
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"docker": {served.name: demand}},
    }
    _POLICY.write_text(json.dumps(policy))
    with pytest.raises(PodmanError, match="signature"):
        podman.apply(Pull(f"{served.name}/app:1", ()))
    assert not any(served.name in name for each in podman.observe().images for name in each.names)
