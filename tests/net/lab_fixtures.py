"""What the tests in the lab share: wires."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from etcd_server import Cluster, serving
from network import Network, laid


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "wireguard: needs a kernel with WireGuard; choose with -m wireguard or -m 'not wireguard'",
    )


@pytest.fixture
def network() -> Iterator[Network]:
    """An empty network; see network.py."""
    with laid() as wires:
        yield wires


@pytest.fixture
def etcd(network: Network, tmp_path: Path) -> Iterator[Cluster]:
    """One member that every host reaches by its default gateway, on the first link."""
    link = network.add_link()
    with serving(tmp_path / "etcd", addresses=[str(link.router)]) as cluster:
        yield cluster
