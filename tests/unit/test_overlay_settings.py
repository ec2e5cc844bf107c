"""What a host's overlay is told, and what is said of a wrong word."""

import json
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import agents
from hostkit.etcd import Access
from hostkit.settings import SettingsError
from hostkit.timing import Timing
from overlay.outer import Wish
from overlay.places import Places
from overlay.settings import Healthz, Settings, load, parse

PLACES = Places(Path("/r"))


def parsed(**values: object) -> Settings:
    return parse(json.dumps(values).encode(), PLACES)


def test_what_is_not_said_is_as_with_flannel_on_coreos() -> None:
    assert parsed() == Settings(
        access=Access(("http://127.0.0.1:2379",)),
        prefix="/coreos.com/network",
        timing=Timing(86400, 3600),
        masquerade=True,
        subnet_file=Path("/r/run/flannel/subnet.env"),
        outer=Wish(),
        healthz=None,
    )


def test_every_key_is_heard() -> None:
    found = parsed(
        etcd_endpoints=" https://a:2379/, http://[fd00::1]:1 ,",
        etcd_prefix="net/work/",
        etcd_cafile="/etc/ca.pem",
        etcd_certfile="/etc/c.pem",
        etcd_keyfile="/etc/k.pem",
        etcd_username="u",
        etcd_password="pw",  # noqa: S106
        ip_masq=False,
        subnet_file="/run/x.env",
        interface="eth1",
        interface_regex="eth.*",
        public_ip="192.0.2.1",
        public_ipv6="2001:db8::1",
        subnet_lease_renew_margin=5,
        subnet_ttl=600.0,
        healthz_ip="::1",
        healthz_port=8080,
    )
    assert found == Settings(
        access=Access(
            ("https://a:2379", "http://[fd00::1]:1"),
            Path("/r/etc/ca.pem"),
            Path("/r/etc/c.pem"),
            Path("/r/etc/k.pem"),
            "u",
            "pw",
        ),
        prefix="/net/work",
        timing=Timing(600, 300),
        masquerade=False,
        subnet_file=Path("/r/run/x.env"),
        outer=Wish("eth1", "eth.*", IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1")),
        healthz=Healthz(IPv6Address("::1"), 8080),
    )


@pytest.mark.parametrize(("ttl", "margin"), [(5, 1), (600, 150), (14400, 3600), (86400, 3600)])
def test_a_short_lease_has_a_short_margin(ttl: int, margin: int) -> None:
    assert parsed(subnet_ttl=ttl).timing == Timing(ttl, margin)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("etcd_endpoints", ""),
        ("etcd_endpoints", ","),
        ("etcd_endpoints", ["http://a"]),
        ("etcd_endpoints", "a:2379"),
        ("etcd_endpoints", "ftp://a"),
        ("etcd_endpoints", "http://"),
        ("etcd_endpoints", "http://a:99999"),
        ("etcd_endpoints", "http://u:p@a"),
        ("etcd_endpoints", "http://a/b"),
        ("etcd_endpoints", "http://a?b"),
        ("etcd_prefix", "/"),
        ("etcd_prefix", "/a//b"),
        ("etcd_prefix", "/a/../b"),
        ("etcd_cafile", "ca.pem"),
        ("subnet_file", "/run/../etc/passwd"),
        ("ip_masq", "yes"),
        ("interface", ""),
        ("interface", "a\nb"),
        ("interface_regex", "("),
        ("public_ip", "2001:db8::1"),
        ("public_ipv6", "192.0.2.1"),
        ("subnet_lease_renew_margin", 0),
        ("subnet_lease_renew_margin", 1440),
        ("subnet_lease_renew_margin", True),
        ("subnet_ttl", 4),
        ("subnet_ttl", 5.5),
        ("subnet_ttl", float("inf")),
        ("healthz_ip", "localhost"),
        ("healthz_port", 65536),
        ("unknown", 1),
    ],
)
def test_a_wrong_value_is_told_with_file_and_key(key: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(**{key: value})
    assert str(caught.value).startswith("/r/etc/bedplate/overlay.json: ")
    assert key in str(caught.value)


@pytest.mark.parametrize("key", ["etcd_certfile", "etcd_keyfile", "etcd_username", "etcd_password"])
def test_what_belongs_together_comes_together(key: str) -> None:
    with pytest.raises(SettingsError, match="belong together") as caught:
        parsed(**{key: "/x"})
    assert key in str(caught.value)


def test_a_margin_as_long_as_the_lease_is_none() -> None:
    with pytest.raises(SettingsError, match="less than subnet_ttl"):
        parsed(subnet_ttl=60, subnet_lease_renew_margin=1)


def test_no_message_shows_a_password() -> None:
    with pytest.raises(SettingsError) as caught:
        parsed(etcd_username="u", etcd_password="hid\nden")  # noqa: S106
    assert "hid" not in str(caught.value)


def problem(data: bytes) -> str:
    try:
        parse(data, PLACES)
    except SettingsError as error:
        return str(error)
    return ""


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_settings_or_a_problem(data: bytes) -> None:
    found = problem(data)
    assert not found or found.startswith("/r/etc/bedplate/overlay.json: ")


@given(
    st.dictionaries(
        st.sampled_from(["etcd_endpoints", "etcd_prefix", "interface", "subnet_ttl", "public_ip"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_any_values_are_settings_or_a_problem(values: dict[str, object]) -> None:
    found = problem(json.dumps(values).encode())
    assert not found or any(key in found for key in values)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"coreos\.flannel in the cloud-config writes it"):
        load(Places(tmp_path))


def test_what_cloud_config_writes_is_understood(tmp_path: Path) -> None:
    document = """#cloud-config
coreos:
  flannel:
    etcd-endpoints: 'https://a:2379,https://b:2379'
    etcd-cafile: /etc/ca.pem
    etcd-certfile: /etc/c.pem
    etcd-keyfile: /etc/k.pem
    etcd-prefix: /n
    etcd-username: u
    etcd-password: pw
    ip-masq: off
    subnet-file: /run/s.env
    interface: eth0
    interface-regex: 'e.*'
    public-ip: 192.0.2.1
    public-ipv6: '2001:db8::1'
    subnet-lease-renew-margin: 30
    subnet-ttl: 2h
    healthz-ip: 0.0.0.0
    healthz-port: 8285
"""
    config = read_document(document.encode(), Path("c.yaml")).config
    (file,) = agents.render(config, Facts()).items
    places = Places(tmp_path)
    places.settings.parent.mkdir(parents=True)
    assert isinstance(file, File)
    places.settings.write_bytes(file.content)
    found = load(places)
    assert (found.prefix, found.timing) == ("/n", Timing(7200, 1800))
    assert found.healthz == Healthz(IPv4Address("0.0.0.0"), 8285)  # noqa: S104
    assert found.masquerade is False
