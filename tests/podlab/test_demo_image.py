"""What `make demo` serves and declares, with the real podman and the agent."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.demo_page import NAME, PORT, fetched, filled, page_image
from builder.vm.ociimage import Image
from builder.vm.registry import Registry, serving
from cloudconfig.desired import Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.rendering import render_all
from network import run, wait_for
from podagent.actions import Play, Pull
from podagent.manifest import parse
from podagent.podman import Podman, PodmanError
from podagent.types import Instance, Origin

PROJECT = Path(__file__).parents[2]
_CERTIFICATES = Path("/etc/ssl/certs")


@pytest.fixture
def image() -> Image:
    return page_image(Path("/usr/bin/busybox").read_bytes())


@pytest.fixture
def served(image: Image) -> Iterator[Registry]:
    """The demo's registry, which nobody trusts yet; and an empty place for whom to trust."""
    run(["mount", "-t", "tmpfs", "tmpfs", str(_CERTIFICATES)])
    try:
        with serving({NAME: image}, "127.0.0.1") as registry:
            yield registry
    finally:
        run(["umount", str(_CERTIFICATES)])


def _written(desired: Desired, path: str) -> bytes:
    (file,) = [each for each in desired.items if str(each.path) == path]
    assert isinstance(file, File)
    return file.content


@pytest.fixture(autouse=True)
def _images() -> Iterator[None]:
    """The demo's images go when the pods are gone."""
    yield
    for name in run(["podman", "images", "--format", "{{.Repository}} {{.Id}}"]).splitlines():
        if "/page " in name:
            run(["podman", "image", "rm", "--force", "--ignore", name.split()[1]])


def test_a_stranger_gives_no_image(podman: Podman, served: Registry) -> None:
    with pytest.raises(PodmanError, match=r"^podman pull: .*x509: certificate signed by unknown"):
        podman.apply(Pull(f"127.0.0.1:{served.port}/{NAME}", ()))


def test_by_tag_and_by_digest(podman: Podman, served: Registry, image: Image) -> None:
    (_CERTIFICATES / "ca-certificates.crt").write_text(served.certificate)
    podman.apply(Pull(f"127.0.0.1:{served.port}/{NAME}", ()))
    pinned = f"127.0.0.1:{served.port}/page@{image.manifest.digest}"
    podman.apply(Pull(pinned, ()))
    (found,) = [each for each in podman.observe().images if pinned in each.names]
    assert f"127.0.0.1:{served.port}/{NAME}" in found.names
    with pytest.raises(PodmanError, match=r"^podman pull: .*"):
        podman.apply(Pull(f"127.0.0.1:{served.port}/other:1", ()))


def test_the_documents_pod_serves_the_page(podman: Podman, served: Registry, image: Image) -> None:
    document = filled(
        (PROJECT / "builder/demo.yaml").read_text(),
        updates=1,
        registry=served.port,
        digest=image.manifest.digest,
        certificate=served.certificate,
    ).replace("10.0.2.2", "127.0.0.1")
    config = read_document(document.encode(), Path("demo.yaml")).config
    desired = render_all(config, Facts())
    bundle = _CERTIFICATES / "ca-certificates.crt"
    bundle.write_bytes(_written(desired, str(bundle)))
    text = _written(desired, "/etc/bedplate/pods/page.yaml")
    manifest = parse(text, Path("page.yaml"), of_host=True)
    (container,) = manifest.pod.containers
    podman.apply(Pull(container.image, ()))
    podman.apply(Play(Instance("page", manifest, Origin.FOLDER, None)))
    release = platform.freedesktop_os_release()["PRETTY_NAME"]
    wait_for(lambda: fetched(f"http://127.0.0.1:{PORT}/", release), "the page")
