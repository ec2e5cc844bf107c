import re
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostkit import nftables
from podagent.services import balance
from podagent.services.balance import Balanced, make_table
from podagent.types import ServicePort

SERVICE = IPv4Address("10.96.0.7")
A, B = IPv4Address("10.5.1.2"), IPv4Address("10.5.2.2")
WEB, LOG = ServicePort("web", "tcp", 80, 8080), ServicePort("log", "udp", 514, 5140)
_RULE = re.compile(
    r"ip daddr (\S+) (tcp|udp) dport (\d+) dnat ip to numgen random mod (\d+) map \{ (.*) \}"
)
PORTS = st.builds(
    ServicePort,
    st.text(max_size=5),
    st.sampled_from(["tcp", "udp"]),
    st.integers(1, 65535),
    st.integers(1, 65535),
)
SERVICES = st.lists(
    st.builds(
        Balanced,
        st.ip_addresses(v=4),
        st.lists(PORTS, unique_by=lambda each: (each.protocol, each.port), max_size=3).map(tuple),
        st.lists(st.ip_addresses(v=4), max_size=4).map(tuple),
    ),
    unique_by=lambda each: each.address,
    max_size=5,
)


def rules(table: str) -> list[str]:
    return [line.strip() for line in table.splitlines() if " dnat " in line]


def test_each_port_goes_to_any_of_the_replicas() -> None:
    table = make_table([Balanced(SERVICE, (LOG, WEB), (B, A, B))])
    start, either = "ip daddr 10.96.0.7", "dnat ip to numgen random mod 2"
    assert rules(table) == [
        f"{start} tcp dport 80 {either} map {{ 0 : 10.5.1.2 . 8080, 1 : 10.5.2.2 . 8080 }}",
        f"{start} udp dport 514 {either} map {{ 0 : 10.5.1.2 . 5140, 1 : 10.5.2.2 . 5140 }}",
    ]


def test_without_replicas_an_address_is_there_to_be_refused() -> None:
    table = make_table([Balanced(SERVICE, (WEB,), ())])
    assert rules(table) == []
    assert "elements = { 10.96.0.7 }" in table
    assert table.count("ip daddr @addresses reject with icmp port-unreachable") == 2


def test_without_services_there_is_no_table() -> None:
    assert make_table([]) == ""


def test_two_services_with_one_address_are_refused() -> None:
    with pytest.raises(ValueError, match="two services with one address"):
        make_table([Balanced(SERVICE, (WEB,), (A,)), Balanced(SERVICE, (LOG,), (A,))])


def test_other_protocols_are_refused() -> None:
    evil = ServicePort("", "tcp dport 1 accept; udp", 80, 80)
    with pytest.raises(ValueError, match="tcp or udp"):
        make_table([Balanced(SERVICE, (evil,), (A,))])


@given(SERVICES, st.randoms())
def test_the_text_says_just_what_it_was_given(services: list[Balanced], random: object) -> None:
    table = make_table(services)
    random.shuffle(services)  # type: ignore[attr-defined] # hypothesis' own Random
    assert make_table(services) == table
    found = {}
    for rule in rules(table):
        match = _RULE.fullmatch(rule)
        assert match
        address, protocol, port, count, ways = match.groups()
        numbers = [way.split(" : ")[0] for way in ways.split(", ")]
        assert numbers == [str(each) for each in range(int(count))]
        found[address, protocol, port] = {way.split(" : ")[1] for way in ways.split(", ")}
    assert found == {
        (str(each.address), port.protocol, str(port.port)): {
            f"{replica} . {port.target}" for replica in each.replicas
        }
        for each in services
        for port in each.ports
        if each.replicas
    }
    elements = re.findall(r"elements = \{ ([^}]*) \}", table)
    assert {each.strip() for each in "".join(elements).split(",") if each} == {
        str(each.address) for each in services
    }


def test_other_tables_with_a_like_name_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []

    def run(argv: tuple[str, ...]) -> str:
        calls.append(argv)
        return "table inet bedplate_services_old\ntable inet netavark\n"

    monkeypatch.setattr(nftables, "run", run)
    assert balance.observe() == ""
    assert calls == [("nft", "list", "tables", "inet")]
