"""WireGuard's devices over generic netlink: their port and key, and their peers."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Self

from overlay.links import Device, WireguardLink, WireguardPeer
from overlay.messages import Message
from overlay.plan import Put, Remove

_NO_KEY = "A" * 43 + "="  # 32 zero bytes: as the kernel tells that there is no preshared key


class Tunnels:
    """The WireGuard devices of a namespace; the socket is opened at the first need."""

    def __init__(self) -> None:
        self._opened: Any = None
        # A peer's endpoint follows its packets, behind a NAT say, which is no fault to mend: what
        # was asked for is told back as long as nobody takes the peer away.
        self._endpoints: dict[tuple[str, str], tuple[str, int] | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()

    @property
    def _socket(self) -> Any:  # noqa: ANN401 - pyroute2 has no types
        if self._opened is None:
            # For hosts with this backend only; pyroute2 ships no types, see messages.py.
            from pyroute2 import WireGuard  # type: ignore[import-untyped]  # noqa: PLC0415

            self._opened = WireGuard()
        return self._opened

    def configure(self, device: str, link: WireguardLink) -> None:
        """Give a device its port and key."""
        self._socket.set(device, listen_port=link.port, private_key=link.private_key)

    def apply(self, change: Put | Remove) -> None:
        """Add, replace or remove a peer."""
        peer = change.entry
        if not isinstance(peer, WireguardPeer):
            raise TypeError(f"{peer}: not a peer")
        who = (peer.device, peer.public_key)
        if isinstance(change, Remove):
            self._endpoints.pop(who, None)
            self._socket.set(peer.device, peer={"public_key": peer.public_key, "remove": True})
            return
        options: dict[str, object] = {
            "public_key": peer.public_key,
            "preshared_key": peer.preshared_key or _NO_KEY,
            "persistent_keepalive": peer.keepalive,
            "allowed_ips": list(peer.allowed),
        }
        if peer.endpoint:
            options["endpoint_addr"], options["endpoint_port"] = peer.endpoint
        self._socket.set(peer.device, peer=options)
        self._endpoints[who] = peer.endpoint

    def observe(self, device: Device) -> tuple[Device, list[WireguardPeer]]:
        """The device with its port and key, and its peers; any other device as it is."""
        if not isinstance(device.link, WireguardLink):
            return device, []
        link = device.link
        peers: dict[str, WireguardPeer] = {}
        for message in self._socket.info(device.name):
            link = read_link(message) or link
            for peer in read_peers(message, device.name):
                before = peers.get(peer.public_key)
                peers[peer.public_key] = _joined(before, peer) if before else peer
        for who in [who for who in self._endpoints if who[0] == device.name]:
            if who[1] not in peers:
                del self._endpoints[who]
        return replace(device, link=link), [
            replace(peer, endpoint=self._endpoints.get((device.name, key), peer.endpoint))
            for key, peer in peers.items()
        ]


def _joined(before: WireguardPeer, more: WireguardPeer) -> WireguardPeer:
    """A peer that the kernel tells in two messages: only its subnets are in the second as well."""
    return replace(before, allowed=tuple(sorted({*before.allowed, *more.allowed})))


def read_link(message: Message) -> WireguardLink | None:
    """A device's port and private key; None in all messages of a dump but the first."""
    port = message.get("WGDEVICE_A_LISTEN_PORT")
    if port is None:
        return None
    return WireguardLink(port, _text(message.get("WGDEVICE_A_PRIVATE_KEY")))


def read_peers(message: Message, device: str) -> Iterable[WireguardPeer]:
    """The peers that one message of a dump tells."""
    for peer in message.get("WGDEVICE_A_PEERS") or ():
        endpoint = peer.get("WGPEER_A_ENDPOINT")
        preshared = _text(peer.get("WGPEER_A_PRESHARED_KEY"))
        yield WireguardPeer(
            device,
            _text(peer.get("WGPEER_A_PUBLIC_KEY")),
            (endpoint["addr"], endpoint["port"]) if endpoint else None,
            tuple(sorted(each["addr"] for each in peer.get("WGPEER_A_ALLOWEDIPS") or ())),
            None if preshared in {"", _NO_KEY} else preshared,
            peer.get("WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL") or 0,
        )


def _text(key: bytes | str | None) -> str:
    return key.decode() if isinstance(key, bytes) else key or ""
