"""The network's `Backend`: which one, and its options.

Source: flannel's `Documentation/backends.md`. Its code takes `udp` when there is no `Backend`; the
newer manuals, and we, take vxlan.
"""

import base64
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from overlay.document import Reader
from overlay.lease import BackendType

_BACKEND_KEYS = {
    BackendType.VXLAN: ("VNI", "Port", "DirectRouting", "MTU", "Learning", "GBP"),
    BackendType.HOST_GW: (),
    BackendType.WIREGUARD: (
        *("ListenPort", "ListenPortV6", "PSK", "PersistentKeepaliveInterval", "Mode", "MTU"),
    ),
}
# Device names have 15 characters (IFNAMSIZ of linux/if.h): flannel.<VNI>, flannel-v6.<VNI>.
_LARGEST_VNI = 9_999_999
_LARGEST_VNI_WITH_IPV6 = 9_999
_PORTS = (1, 65535)
_MTUS = (576, 65535)


class WireguardMode(StrEnum):
    """Which tunnels there are: one for each family, or one for both over the family named."""

    SEPARATE = "separate"
    AUTO = "auto"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True)
class VxlanConfig:
    """`Backend` of type vxlan; `mtu` is the outer interface's, 0 for its own."""

    type: ClassVar = BackendType.VXLAN
    vni: int = 1
    port: int = 8472
    direct_routing: bool = False
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class HostGwConfig:
    """`Backend` of type host-gw, which has no options."""

    type: ClassVar = BackendType.HOST_GW


@dataclass(frozen=True, slots=True)
class WireguardConfig:
    """`Backend` of type wireguard; `psk` is base64, `keepalive` seconds (0: none), `mtu` outer."""

    type: ClassVar = BackendType.WIREGUARD
    listen_port: int = 51820
    listen_port_v6: int = 51821
    psk: str | None = field(default=None, repr=False)
    keepalive: int = 0
    mode: WireguardMode = WireguardMode.SEPARATE
    mtu: int = 0


BackendConfig = VxlanConfig | HostGwConfig | WireguardConfig


def read_backend(reader: Reader, *, with_ipv6: bool) -> BackendConfig:
    """The object `Backend` of the document; `with_ipv6`: there will be a device for IPv6 too."""
    every = ("Type", *(key for keys in _BACKEND_KEYS.values() for key in keys))
    inner = reader.inner("Backend", every)
    text = inner.text("Type") or BackendType.VXLAN.value
    try:
        # Flannel folds the type's case too.
        kind = BackendType(text.lower())
    except ValueError:
        inner.bad("Type", f"one of {', '.join(BackendType)}, which are the backends of this host")
        return HostGwConfig()
    for key in sorted(set(inner.values) - {"Type", *_BACKEND_KEYS[kind]}):
        reader.warnings.append(f"Backend.{key} has no meaning for {kind} and is ignored")
    if kind is BackendType.VXLAN:
        return _vxlan(inner, _LARGEST_VNI_WITH_IPV6 if with_ipv6 else _LARGEST_VNI)
    if kind is BackendType.WIREGUARD:
        return _wireguard(inner)
    return HostGwConfig()


def _vxlan(reader: Reader, largest_vni: int) -> VxlanConfig:
    for key, why in (
        ("Learning", "every peer's address comes from its lease"),
        ("GBP", "group policies are not offered"),
    ):
        if reader.flag(key):
            reader.warnings.append(f"Backend.{key} is ignored: {why}")
    return VxlanConfig(
        vni=reader.number("VNI", 1, largest_vni, 1),
        port=reader.number("Port", *_PORTS, 8472),
        direct_routing=reader.flag("DirectRouting"),
        mtu=reader.number("MTU", *_MTUS, 0),
    )


def _wireguard(reader: Reader) -> WireguardConfig:
    mode = reader.text("Mode") or WireguardMode.SEPARATE.value
    if mode not in set(WireguardMode):
        reader.bad("Mode", f"one of {', '.join(WireguardMode)}")
        mode = WireguardMode.SEPARATE.value
    return WireguardConfig(
        listen_port=reader.number("ListenPort", *_PORTS, 51820),
        listen_port_v6=reader.number("ListenPortV6", *_PORTS, 51821),
        psk=_psk(reader),
        keepalive=reader.number("PersistentKeepaliveInterval", 0, 65535, 0),
        mode=WireguardMode(mode),
        mtu=reader.number("MTU", *_MTUS, 0),
    )


def _psk(reader: Reader) -> str | None:
    """A preshared key as `wg genpsk` writes it: 32 bytes in base64."""
    text = reader.text("PSK")
    try:
        good = len(base64.b64decode(text, validate=True)) in (0, 32)
    except ValueError:
        good = False
    if not good:
        reader.bad("PSK", "what `wg genpsk` prints: 32 bytes in base64")
    return text or None
