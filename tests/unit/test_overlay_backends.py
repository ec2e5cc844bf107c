import base64
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.backends import make_backend, outer_families, plan_peers
from overlay.backends.base import BackendError, Desired
from overlay.backends.hostgw import HostGw
from overlay.backends.vxlan import Vxlan
from overlay.backends.wireguard import Wireguard, load_key
from overlay.lease import Lease, Subnets, Terms
from overlay.links import (
    Address,
    Device,
    Forward,
    Neighbour,
    Route,
    VxlanLink,
    WireguardLink,
    WireguardPeer,
)
from overlay.network import (
    BackendConfig,
    HostGwConfig,
    NetworkConfig,
    Range,
    VxlanConfig,
    WireguardConfig,
    WireguardMode,
)
from overlay.outer import Interface, Outer, Surroundings, Wish, choose
from overlay.plan import Put, Remove

_OUTER = choose(
    Surroundings((Interface("eth0", 2, 1500, (ip_interface("10.0.0.1/24"),)),)),
    Wish(interface="eth0"),
    ipv4=True,
    ipv6=False,
)
_BOTH = choose(
    Surroundings(
        (Interface("eth0", 2, 1500, (ip_interface("10.0.0.1/24"), ip_interface("fd00::1/64"))),)
    ),
    Wish(interface="eth0"),
    ipv4=True,
    ipv6=True,
)
_MACHINE = "0123456789abcdef0123456789abcdef"
_MAC, _MAC6 = "02:00:00:00:00:02", "02:00:00:00:06:02"
_VXLAN_DATA, _VXLAN_DATA6 = {"VNI": 1, "VtepMAC": _MAC}, {"VNI": 1, "VtepMAC": _MAC6}
_OURS = Subnets(IPv4Network("10.5.1.0/24"))
_BOTH_OURS = Subnets(IPv4Network("10.5.1.0/24"), IPv6Network("fd05:0:0:1::/64"))
_THEIRS = Subnets(IPv4Network("10.5.2.0/24"))
_BOTH_THEIRS = Subnets(IPv4Network("10.5.2.0/24"), IPv6Network("fd05:0:0:2::/64"))
_PUBLIC, _PUBLIC6 = IPv4Address("10.0.0.2"), IPv6Address("fd00::2")
_NETWORK = IPv4Network("10.5.0.0/16")
_NETWORK6 = IPv6Network("fd05::/48")
_KEY = base64.b64encode(bytes(range(32))).decode()


def lease(
    backend: str = "vxlan",
    data: dict[str, object] | None = None,
    *,
    subnets: Subnets = _THEIRS,
    public: IPv4Address | None = _PUBLIC,
    revision: int = 1,
) -> Lease:
    given_data = _VXLAN_DATA if data is None else data
    return Lease(subnets, Terms(public, None, backend, given_data), 1, revision)


def both_lease(backend: str = "vxlan", data: dict[str, object] | None = None) -> Lease:
    data4, data6 = (_VXLAN_DATA, _VXLAN_DATA6) if data is None else (data, data)
    return Lease(_BOTH_THEIRS, Terms(_PUBLIC, _PUBLIC6, backend, data4, data6), 1, 1)


def network(backend: BackendConfig, *, ipv4: bool = True, ipv6: bool = False) -> NetworkConfig:
    first, first6 = IPv4Network("10.5.1.0/24"), IPv6Network("fd05:0:0:1::/64")
    return NetworkConfig(
        Range(_NETWORK, 24, first, IPv4Network("10.5.255.0/24")) if ipv4 else None,
        Range(_NETWORK6, 64, first6, IPv6Network("fd05:0:0:ffff::/64")) if ipv6 else None,
        backend,
    )


def vxlan(config: VxlanConfig | None = None, outer: Outer = _OUTER) -> Vxlan:
    return Vxlan(config or VxlanConfig(), outer, _MACHINE)


def reasons(desired: Desired) -> dict[str, str]:
    return {each.subnet: each.reason for each in desired.unreachable}


# --- vxlan ----------------------------------------------------------------------------------------


def test_vxlan_is_what_flannel_makes() -> None:
    backend = vxlan()
    mac = backend.mac(4)
    desired = backend.desired(_OURS, [lease()])
    assert desired.unreachable == ()
    assert desired.state.devices == {
        Device("flannel.1", 1450, VxlanLink(1, 8472, "10.0.0.1", 2, learning=False), mac)
    }
    assert desired.state.entries == {
        Address("flannel.1", "10.5.1.0", 32),
        Neighbour("flannel.1", "10.5.2.0", _MAC),
        Forward("flannel.1", _MAC, "10.0.0.2"),
        Route("flannel.1", "10.5.2.0/24", "10.5.2.0", onlink=True, metric=0),
    }
    assert backend.terms == Terms(
        IPv4Address("10.0.0.1"), None, "vxlan", {"VNI": 1, "VtepMAC": mac}, {}
    )


def test_vxlan_of_both_families_has_a_device_for_each() -> None:
    backend = vxlan(outer=_BOTH)
    desired = backend.desired(_BOTH_OURS, [both_lease()])
    assert {(each.name, each.mtu) for each in desired.state.devices} == {
        ("flannel.1", 1450),
        ("flannel-v6.1", 1430),
    }
    assert desired.state.entries >= {
        Address("flannel-v6.1", "fd05:0:0:1::", 128),
        Neighbour("flannel-v6.1", "fd05:0:0:2::", _MAC6),
        Forward("flannel-v6.1", _MAC6, "fd00::2"),
        Route("flannel-v6.1", "fd05:0:0:2::/64", "fd05:0:0:2::", onlink=True, metric=1024),
    }
    assert backend.mtu == 1430
    assert backend.terms.data_v6 == {"VNI": 1, "VtepMAC": backend.mac(6)}


@pytest.mark.parametrize(
    ("config", "outer", "mtu"),
    [
        (VxlanConfig(), _OUTER, 1450),
        (VxlanConfig(direct_routing=True), _OUTER, 1450),
        (VxlanConfig(mtu=9000), _OUTER, 8950),
        (VxlanConfig(), replace(_BOTH, mtu=9001), 8931),
    ],
    ids=str,
)
def test_vxlan_mtu(config: VxlanConfig, outer: Outer, mtu: int) -> None:
    assert vxlan(config, outer).mtu == mtu


def test_vxlan_takes_number_and_port_from_the_configuration() -> None:
    (device,) = vxlan(VxlanConfig(vni=7, port=4789)).desired(_OURS, []).state.devices
    assert device.name == "flannel.7"
    assert device.link == VxlanLink(7, 4789, "10.0.0.1", 2)


def test_direct_routing_needs_no_tunnel_to_a_peer_on_the_link() -> None:
    near, far = lease(), lease(public=IPv4Address("10.9.0.2"))
    backend = vxlan(VxlanConfig(direct_routing=True))
    entries = backend.desired(_OURS, [near]).state.entries
    own = Address("flannel.1", "10.5.1.0", 32)
    assert entries == {own, Route("eth0", "10.5.2.0/24", "10.0.0.2")}
    assert backend.desired(_OURS, [far]).state == vxlan().desired(_OURS, [far]).state


@pytest.mark.parametrize("version", [4, 6])
def test_our_mac_is_a_hosts_and_stays(version: int) -> None:
    mac = vxlan(outer=_BOTH).mac(version)
    assert mac == vxlan(outer=_BOTH).mac(version)
    assert int(mac[:2], 16) & 3 == 2
    others = {
        vxlan(VxlanConfig(vni=2), _BOTH).mac(version),
        replace(vxlan(outer=_BOTH), machine_id="f" * 32).mac(version),
        vxlan(outer=_BOTH).mac(10 - version),
        # A clone of the machine, which has another address.
        vxlan(outer=replace(_BOTH, public_ipv4=_PUBLIC, public_ipv6=IPv6Address("fd00::9"))).mac(
            version
        ),
    }
    assert len(others - {mac}) == 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "its BackendData has no VtepMAC of a host: ''"),
        ({"VtepMAC": "junk"}, "its BackendData has no VtepMAC of a host: 'junk'"),
        ({"VtepMAC": 7}, "its BackendData has no VtepMAC of a host: '7'"),
        ({"VtepMAC": "01:00:5e:00:00:01"}, "of a host: '01:00:5e:00:00:01'"),
        ({"VtepMAC": "00:00:00:00:00:00"}, "of a host: '00:00:00:00:00:00'"),
        ({"VNI": 2, "VtepMAC": _MAC}, "the VNI of its BackendData is 2, ours 1"),
    ],
    ids=str,
)
def test_vxlan_peers_that_do_not_tell_enough(data: dict[str, object], reason: str) -> None:
    desired = vxlan().desired(_OURS, [lease(data=data)])
    assert reason in reasons(desired)["10.5.2.0/24"]
    assert desired.state == vxlan().desired(_OURS, []).state


def test_a_mac_in_capitals_is_the_same_mac() -> None:
    upper = lease(data={"VNI": 1, "VtepMAC": _MAC.upper()})
    assert vxlan().desired(_OURS, [upper]) == vxlan().desired(_OURS, [lease()])


def test_of_two_hosts_with_one_mac_the_newer_lease_counts() -> None:
    other = Subnets(IPv4Network("10.5.3.0/24"))
    old = lease(revision=1)
    new = lease(subnets=other, public=IPv4Address("10.0.0.3"), revision=2)
    for leases in ([old, new], [new, old]):
        desired = vxlan().desired(_OURS, leases)
        assert reasons(desired) == {"10.5.2.0/24": f"its VtepMAC {_MAC} is 10.0.0.3's too"}
        assert Forward("flannel.1", _MAC, "10.0.0.3") in desired.state.entries


def test_a_host_may_have_two_leases_for_a_while() -> None:
    second = lease(subnets=Subnets(IPv4Network("10.5.3.0/24")), revision=2)
    desired = vxlan().desired(_OURS, [lease(), second])
    assert desired.unreachable == ()
    assert len([each for each in desired.state.entries if isinstance(each, Route)]) == 2
    assert len([each for each in desired.state.entries if isinstance(each, Forward)]) == 1


# --- All ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "reason"),
    [
        (lease("host-gw"), "its backend is host-gw, ours vxlan"),
        (lease("alloc"), "its backend is alloc, ours vxlan"),
        (lease(""), "its backend is not told, ours vxlan"),
        (lease(public=None), "its lease has no PublicIP"),
        (
            lease(public=IPv4Address("10.0.0.1")),
            "it is an older lease of this host",
        ),
        (
            lease(subnets=Subnets(IPv4Network("10.5.0.0/22"))),
            "its subnet overlaps ours, 10.5.1.0-24",
        ),
    ],
    ids=str,
)
def test_a_peer_that_cannot_be_reached_is_named_with_the_reason(peer: Lease, reason: str) -> None:
    desired = vxlan().desired(_OURS, [peer])
    assert list(reasons(desired).values()) == [reason]
    assert desired.state == vxlan().desired(_OURS, []).state


def test_our_own_lease_is_no_peer() -> None:
    backend = vxlan()
    own = Lease(_OURS, backend.terms, 1, 5)
    assert backend.desired(_OURS, [own]) == backend.desired(_OURS, [])


_ODD = st.one_of(st.none(), st.integers(), st.text(max_size=20), st.just(_MAC), st.just(_KEY))
_DATA = st.dictionaries(st.sampled_from(("VNI", "VtepMAC", "PublicKey")), _ODD)


@st.composite
def any_leases(draw: st.DrawFn) -> list[Lease]:
    def one(number: int) -> Lease:
        subnets = Subnets(
            IPv4Network(f"10.5.{draw(st.integers(0, 3))}.0/24") if draw(st.booleans()) else None,
            IPv6Network(f"fd05:0:0:{draw(st.integers(0, 3))}::/64"),
        )
        address = IPv4Address(f"10.{draw(st.integers(0, 1))}.0.{draw(st.integers(1, 4))}")
        terms = Terms(
            address if draw(st.booleans()) else None,
            _PUBLIC6 if draw(st.booleans()) else None,
            draw(st.sampled_from(("vxlan", "host-gw", "wireguard", "udp"))),
            draw(_DATA),
            draw(_DATA),
        )
        return Lease(subnets, terms, 1, number)

    return [one(number) for number in range(draw(st.integers(0, 6)))]


@pytest.mark.parametrize(
    "config",
    [
        VxlanConfig(),
        VxlanConfig(direct_routing=True),
        HostGwConfig(),
        WireguardConfig(),
        WireguardConfig(mode=WireguardMode.AUTO),
    ],
    ids=str,
)
@given(any_leases())
def test_whatever_leases_say_a_key_is_wanted_once(
    tmp_path_factory: pytest.TempPathFactory, config: BackendConfig, leases: list[Lease]
) -> None:
    key_file = tmp_path_factory.getbasetemp() / "key"
    whole = network(config, ipv6=True)
    backend = make_backend(whole, _BOTH, machine_id=_MACHINE, key_file=key_file)
    distinct = {each.subnets: each for each in leases}.values()
    state = backend.desired(_BOTH_OURS, distinct).state
    keys = [each.key for each in state.entries if not isinstance(each, Route)]
    assert len(keys) == len(set(keys))
    names = {each.name for each in state.devices} | {"eth0"}
    assert {each.device for each in state.entries} <= names


# --- host-gw --------------------------------------------------------------------------------------


def test_host_gw_is_a_route_to_each_peer() -> None:
    backend = HostGw(_BOTH)
    desired = backend.desired(_BOTH_OURS, [both_lease("host-gw", {})])
    assert desired.state.devices == frozenset()
    assert desired.state.entries == {
        Route("eth0", "10.5.2.0/24", "10.0.0.2"),
        Route("eth0", "fd05:0:0:2::/64", "fd00::2", metric=1024),
    }
    assert backend.mtu == 1500
    assert backend.terms == Terms(IPv4Address("10.0.0.1"), IPv6Address("fd00::1"), "host-gw")


def test_host_gw_needs_one_link() -> None:
    desired = HostGw(_OUTER).desired(_OURS, [lease("host-gw", public=IPv4Address("10.9.0.2"))])
    assert desired.state.entries == frozenset()
    assert reasons(desired) == {
        "10.5.2.0/24": "10.9.0.2 is not on our link (10.0.0.0/24); host-gw needs one link"
    }


def test_host_gw_does_not_work_behind_a_nat() -> None:
    with pytest.raises(BackendError, match=r"the public address 1\.2\.3\.4 is not that of eth0"):
        HostGw(replace(_OUTER, public_ipv4=IPv4Address("1.2.3.4")))


# --- WireGuard ------------------------------------------------------------------------------------


def wireguard(
    tmp_path: Path, config: WireguardConfig | None = None, *, both: bool = False
) -> Wireguard:
    config = config or WireguardConfig()
    key = load_key(tmp_path / "key")
    return Wireguard(config, network(config, ipv6=both), _BOTH if both else _OUTER, key)


def test_wireguard_is_what_flannel_makes(tmp_path: Path) -> None:
    backend = wireguard(tmp_path)
    desired = backend.desired(_OURS, [lease("wireguard", {"PublicKey": _KEY})])
    assert desired.unreachable == ()
    link = WireguardLink(51820, backend.key.private)
    assert desired.state.devices == {Device("flannel-wg", 1420, link)}
    assert desired.state.entries == {
        Address("flannel-wg", "10.5.1.0", 32),
        Route("flannel-wg", "10.5.0.0/16"),
        WireguardPeer("flannel-wg", _KEY, ("10.0.0.2", 51820), ("10.5.2.0/24",)),
    }
    assert backend.mtu == 1420
    assert backend.terms.data == {"PublicKey": backend.key.public}
    assert backend.terms.data_v6 == {}


def test_wireguard_with_a_tunnel_for_each_family(tmp_path: Path) -> None:
    desired = wireguard(tmp_path, both=True).desired(
        _BOTH_OURS, [both_lease("wireguard", {"PublicKey": _KEY})]
    )
    assert {each.name for each in desired.state.devices} == {"flannel-wg", "flannel-wg-v6"}
    assert desired.state.entries >= {
        Route("flannel-wg-v6", "fd05::/48", metric=1024),
        WireguardPeer("flannel-wg", _KEY, ("10.0.0.2", 51820), ("10.5.2.0/24",)),
        WireguardPeer("flannel-wg-v6", _KEY, ("fd00::2", 51821), ("fd05:0:0:2::/64",)),
    }


@pytest.mark.parametrize(
    ("mode", "endpoint"),
    [
        (WireguardMode.AUTO, "10.0.0.2"),
        (WireguardMode.IPV4, "10.0.0.2"),
        (WireguardMode.IPV6, "fd00::2"),
    ],
)
def test_wireguard_with_one_tunnel_for_both(
    tmp_path: Path, mode: WireguardMode, endpoint: str
) -> None:
    config = WireguardConfig(mode=mode, psk=_KEY, keepalive=25, listen_port=7)
    desired = wireguard(tmp_path, config, both=True).desired(
        _BOTH_OURS, [both_lease("wireguard", {"PublicKey": _KEY})]
    )
    (device,) = desired.state.devices
    assert device.name == "flannel-wg"
    (peer,) = (each for each in desired.state.entries if isinstance(each, WireguardPeer))
    allowed = ("10.5.2.0/24", "fd05:0:0:2::/64")
    assert peer == WireguardPeer("flannel-wg", _KEY, (endpoint, 7), allowed, _KEY, 25)


@pytest.mark.parametrize(
    ("theirs", "theirs6", "own6", "endpoint"),
    [
        ("8.8.8.8", "2600::1", "2600::2", "8.8.8.8"),
        ("10.0.0.2", "2600::1", "2600::2", "2600::1"),
        ("10.0.0.2", "2600::1", "fd00::1", "10.0.0.2"),
        ("10.0.0.2", "fd00::2", "2600::2", "10.0.0.2"),
    ],
)
def test_wireguard_prefers_the_address_that_is_public(
    tmp_path: Path, theirs: str, theirs6: str, own6: str, endpoint: str
) -> None:
    backend = wireguard(tmp_path, WireguardConfig(mode=WireguardMode.AUTO), both=True)
    backend = replace(backend, outer=replace(_BOTH, public_ipv6=IPv6Address(own6)))
    data: dict[str, object] = {"PublicKey": _KEY}
    terms = Terms(IPv4Address(theirs), IPv6Address(theirs6), "wireguard", data, data)
    desired = backend.desired(_BOTH_OURS, [Lease(_BOTH_THEIRS, terms, 1, 1)])
    (peer,) = (each for each in desired.state.entries if isinstance(each, WireguardPeer))
    assert peer.endpoint == (endpoint, 51820)


def test_wireguard_peers_of_one_key_count_once(tmp_path: Path) -> None:
    backend = wireguard(tmp_path)
    old = lease("wireguard", {"PublicKey": _KEY})
    new = lease(
        "wireguard", {"PublicKey": _KEY}, subnets=Subnets(IPv4Network("10.5.3.0/24")), revision=2
    )
    mine = lease("wireguard", {"PublicKey": backend.key.public}, revision=3)
    assert list(reasons(backend.desired(_OURS, [old, new]))) == ["10.5.2.0-24"]
    assert list(reasons(backend.desired(_OURS, [mine, new]))) == ["10.5.2.0-24"]
    junk = lease("wireguard", {"PublicKey": "junk"})
    assert reasons(backend.desired(_OURS, [junk])) == {
        "10.5.2.0/24": "its BackendData has no PublicKey of WireGuard: 'junk'"
    }


def test_a_key_is_made_once_and_kept_secret(tmp_path: Path) -> None:
    path = tmp_path / "state" / "key"
    key = load_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().strip() == key.private
    assert load_key(path) == key
    assert key.private not in repr(key)


def test_a_key_is_that_of_the_standard(tmp_path: Path) -> None:
    """RFC 7748, section 6.1; with bits in it that the standard sets and clears."""
    private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    private = private[:31] + b"\xaa"
    path = tmp_path / "key"
    path.write_text(base64.b64encode(private).decode())
    key = load_key(path)
    raw = base64.b64decode(key.private)
    assert (raw[0] & 7, raw[31] & 0xC0) == (0, 0x40)
    public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert base64.b64decode(key.public).hex() == public
    path.write_text(key.private)
    assert load_key(path) == key


def test_a_file_that_is_no_key_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("my precious")
    with pytest.raises(BackendError, match="no WireGuard key in base64; remove it"):
        load_key(path)
    assert path.read_text() == "my precious"


# --- The choice -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "kind"),
    [(VxlanConfig(), Vxlan), (HostGwConfig(), HostGw), (WireguardConfig(), Wireguard)],
)
def test_the_backend_is_that_of_the_network(
    tmp_path: Path, config: BackendConfig, kind: type
) -> None:
    key_file = tmp_path / "key"
    made = make_backend(network(config), _OUTER, machine_id=_MACHINE, key_file=key_file)
    assert isinstance(made, kind)
    assert key_file.exists() is (kind is Wireguard)


@pytest.mark.parametrize(
    ("config", "families"),
    [
        (VxlanConfig(), (True, False)),
        (WireguardConfig(), (True, False)),
        (WireguardConfig(mode=WireguardMode.IPV4), (True, False)),
        (WireguardConfig(mode=WireguardMode.IPV6), (False, True)),
    ],
)
def test_what_the_outer_interface_must_have(
    config: BackendConfig, families: tuple[bool, bool]
) -> None:
    assert outer_families(network(config)) == families


def test_a_few_leases_are_planned_without_the_others() -> None:
    backend = vxlan()
    moved = lease(public=IPv4Address("10.0.0.9"))
    old, new = Forward("flannel.1", _MAC, "10.0.0.2"), Forward("flannel.1", _MAC, "10.0.0.9")
    assert plan_peers(backend, _OURS, [lease()], [moved]) == (Put(new, old),)
    assert plan_peers(backend, _OURS, [lease()], [lease()]) == ()
    came = plan_peers(backend, _OURS, [], [lease()])
    assert [type(each.entry) for each in came if isinstance(each, Put)] == [
        Neighbour,
        Forward,
        Route,
    ]
    # Another lease may be of the same host: its MAC stays known.
    went = plan_peers(backend, _OURS, [lease()], [])
    assert [type(each.entry) for each in went if isinstance(each, Remove)] == [Route, Neighbour]
