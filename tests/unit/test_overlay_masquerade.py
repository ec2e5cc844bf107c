from ipaddress import IPv4Network, IPv6Network

import pytest

from hostkit import nftables
from overlay import masquerade
from overlay.masquerade import make_table

_NETWORK, _NETWORK6 = IPv4Network("10.5.0.0/16"), IPv6Network("fd05::/48")


def rules(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if " saddr " in line]


def test_inside_of_the_network_nothing_is_masqueraded_and_outside_all() -> None:
    assert rules(make_table(_NETWORK, None, masquerade=True)) == [
        "ip saddr 10.5.0.0/16 ip daddr 10.5.0.0/16 snat ip to ip saddr",
        "ip saddr 10.5.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random",
    ]


def test_off_leaves_the_rules_for_the_inside() -> None:
    table = make_table(_NETWORK, _NETWORK6, masquerade=False)
    assert rules(table) == [
        "ip saddr 10.5.0.0/16 ip daddr 10.5.0.0/16 snat ip to ip saddr",
        "ip6 saddr fd05::/48 ip6 daddr fd05::/48 snat ip6 to ip6 saddr",
    ]


def test_ipv6_alone() -> None:
    assert rules(make_table(None, _NETWORK6, masquerade=True)) == [
        "ip6 saddr fd05::/48 ip6 daddr fd05::/48 snat ip6 to ip6 saddr",
        "ip6 saddr fd05::/48 ip6 daddr != ff00::/8 masquerade fully-random",
    ]


def test_the_chain_comes_before_those_of_others() -> None:
    table = make_table(_NETWORK, None, masquerade=True)
    assert table.startswith("table inet bedplate-overlay {\n\tchain postrouting {\n")
    assert "type nat hook postrouting priority srcnat - 10; policy accept;" in table


def test_other_tables_with_a_like_name_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...]) -> str:
        calls.append(argv)
        return "table inet bedplate-overlay-old\ntable inet netavark\n"

    monkeypatch.setattr(nftables, "run", run)
    assert masquerade.observe() == ""
    assert calls == [("nft", "list", "tables", "inet")]
