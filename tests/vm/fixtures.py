"""Fixtures of the VM tests: what is built and booted is shared by as many tests as can be."""

import logging
from collections.abc import Iterator

import pytest

from builder.report import Reporter
from faultserver import FaultServer
from site_of_tests import CACHE, Guest, Site, guest_of, source_digest

logging.getLogger("builder").setLevel(logging.INFO)


@pytest.fixture(scope="session")
def site() -> Site:
    """Keys and releases, built once for as long as the sources stay as they are."""
    here = Site(CACHE / "tests" / source_digest(), Reporter())
    here.prepare()
    return here


@pytest.fixture(scope="session")
def server(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultServer]:
    """The server that every guest is told of; tests change what it serves, and how."""
    first = site.repository(tmp_path_factory.mktemp("served") / "repository")
    with FaultServer(first) as running:
        yield running


@pytest.fixture(scope="session")
def guest(
    site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    """A host of release 1, good; saved as "ready" at that moment, and then the tests' to change."""
    image = site.release("1") / "bedplate_1.qcow2"
    folder = tmp_path_factory.mktemp("guest") / "one"
    with guest_of(site, folder, image=image, server=server.url_for_guest()) as running:
        running.wait_until_good("1")
        running.machine.save("ready")
        yield running
