"""WireGuard's messages as pyroute2 writes and reads them; kernels with it are in tests/net."""

import base64
from typing import Any

import pytest
from pyroute2.netlink.generic.wireguard import (  # type: ignore[import-untyped] # see messages.py
    WireGuard,
    wgmsg,
)

from overlay.links import Device, WireguardLink, WireguardPeer
from overlay.plan import Put, Remove
from overlay.wireguard import Tunnels

_PRIVATE, _ONE, _TWO, _SECRET = (
    base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2, 3, 4)
)
_DEVICE = Device("flannel-wg", 1420, WireguardLink(0, ""))
_PEER = WireguardPeer(
    "flannel-wg", _ONE, ("192.168.1.2", 51820), ("10.5.2.0/24", "fd05::/64"), _SECRET, 25
)
_BARE = WireguardPeer("flannel-wg", _TWO, ("fd00::3", 51821), ("10.5.3.0/24",))


class Kernel:
    """Takes pyroute2's requests apart, and tells them back as a dump of several messages."""

    def __init__(self) -> None:
        self.link: list[list[object]] = []
        self.peers: dict[str, Any] = {}

    def set(self, device: str, **options: Any) -> None:  # noqa: ANN401
        assert device == "flannel-wg"
        if (peer := options.get("peer")) is None:
            self.link = [
                ["WGDEVICE_A_LISTEN_PORT", options["listen_port"]],
                ["WGDEVICE_A_PRIVATE_KEY", options["private_key"]],
            ]
        elif peer.get("remove"):
            del self.peers[peer["public_key"]]
        else:
            message: Any = {"attrs": []}
            WireGuard._wg_set_peer(_Builder(), message, peer)
            self.peers[peer["public_key"]] = message["attrs"][0][1]

    def info(self, device: str) -> list[Any]:
        assert device == "flannel-wg"
        messages = [_through_the_wire(self.link)]
        for peer in self.peers.values():
            for part in _parts(dict(peer[0]["attrs"])):
                attributes = [[name, value] for name, value in part.items()]
                messages.append(_through_the_wire([["WGDEVICE_A_PEERS", [{"attrs": attributes}]]]))
        return messages

    def roam(self, key: str, address: str) -> None:
        for attribute in self.peers[key][0]["attrs"]:
            if attribute[0] == "WGPEER_A_ENDPOINT":
                attribute[1] = {"addr": address, "port": 7}


def _parts(peer: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """A peer whose subnets do not all fit into one message."""
    subnets = peer["WGPEER_A_ALLOWEDIPS"]
    rest = {"WGPEER_A_PUBLIC_KEY": peer["WGPEER_A_PUBLIC_KEY"], "WGPEER_A_ALLOWEDIPS": subnets[1:]}
    return ({**peer, "WGPEER_A_ALLOWEDIPS": subnets[:1]}, rest)


class _Builder:
    """The parts of pyroute2's socket that need no socket."""

    _wg_test_key = WireGuard._wg_test_key
    _wg_build_allowedips = WireGuard._wg_build_allowedips


def _through_the_wire(attributes: list[list[object]]) -> Any:  # noqa: ANN401
    message = wgmsg()
    message["attrs"] = attributes
    message.encode()
    back = wgmsg(message.data)
    back.decode()
    return back


@pytest.fixture
def kernel() -> Kernel:
    return Kernel()


@pytest.fixture
def tunnels(kernel: Kernel) -> Tunnels:
    made = Tunnels()
    made._opened = kernel
    made.configure("flannel-wg", WireguardLink(51820, _PRIVATE))
    made.apply(Put(_PEER))
    made.apply(Put(_BARE))
    return made


def test_what_is_put_is_observed(tunnels: Tunnels) -> None:
    device, peers = tunnels.observe(_DEVICE)
    assert device == Device("flannel-wg", 1420, WireguardLink(51820, _PRIVATE))
    assert set(peers) == {_PEER, _BARE}
    tunnels.apply(Remove(_PEER))
    assert tunnels.observe(_DEVICE)[1] == [_BARE]


def test_an_endpoint_that_follows_its_peer_is_no_fault(tunnels: Tunnels, kernel: Kernel) -> None:
    kernel.roam(_ONE, "192.168.1.77")
    assert set(tunnels.observe(_DEVICE)[1]) == {_PEER, _BARE}
    fresh = Tunnels()
    fresh._opened = kernel
    assert {peer.endpoint for peer in fresh.observe(_DEVICE)[1]} == {
        ("192.168.1.77", 7),
        _BARE.endpoint,
    }


def test_a_peer_that_somebody_took_away_is_missed(tunnels: Tunnels, kernel: Kernel) -> None:
    del kernel.peers[_ONE]
    assert tunnels.observe(_DEVICE)[1] == [_BARE]
    assert list(tunnels._endpoints) == [("flannel-wg", _TWO)]


def test_other_devices_are_none_of_its_business() -> None:
    device = Device("flannel.1", 1450, None)
    assert Tunnels().observe(device) == (device, [])
