import os
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podagent.services import names
from podagent.services.names import Entry, make_text

A, B = IPv4Address("10.5.1.2"), IPv4Address("10.5.2.2")
A6 = IPv6Address("fd05::2")
ADDRESSES = st.lists(st.ip_addresses(), max_size=5).map(tuple)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?", fullmatch=True)


def test_a_line_for_each_entry_in_the_order_of_names() -> None:
    entries = [Entry(("web", "front"), (A, A6)), Entry(("db",), (A6,)), Entry(("api",), (A, A))]
    assert make_text(entries, host="h1") == (
        "169.254.20.10\napi 10.5.1.2  api\ndb  fd05::2 db\nweb 10.5.1.2 fd05::2 web,front\n"
    )


def test_entries_without_addresses_have_no_line() -> None:
    assert make_text([Entry(("web",), ())], host="h1", listen=A) == "10.5.1.2\n"


def test_each_host_has_an_order_of_its_own() -> None:
    entry = Entry(("web",), tuple(IPv4Address(0x0A050002 + number) for number in range(9)))
    orders = {make_text([entry], host=f"h{number}") for number in range(20)}
    assert len(orders) == 20
    assert len({text.split()[2].partition(",")[0] for text in orders}) > 5


@pytest.mark.parametrize(
    "name", ["", "a b", "a,b", "a\n", "\na", "A", "-a", "a-", "ä", "a" * 254, "a/b", "a\tb"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name in the DNS"):
        make_text([Entry(("web", name), (A,))], host="h1")


@given(st.dictionaries(LABELS, ADDRESSES), st.text(max_size=20), st.randoms())
def test_the_text_says_just_what_it_was_given(
    wanted: dict[str, tuple[IPv4Address | IPv6Address, ...]], host: str, random: object
) -> None:
    entries = [Entry((name,), addresses) for name, addresses in wanted.items()]
    text = make_text(entries, host=host)
    random.shuffle(entries)  # type: ignore[attr-defined] # hypothesis' own Random
    assert make_text(entries, host=host) == text
    first, *lines = text.removesuffix("\n").split("\n")
    assert first == str(names.LISTEN)
    read = {}
    for line in lines:
        identity, ipv4, ipv6, name = line.split(" ")
        assert identity == name
        v4 = {IPv4Address(each) for each in filter(None, ipv4.split(","))}
        v6 = {IPv6Address(each) for each in filter(None, ipv6.split(","))}
        read[name] = {*v4, *v6}
    assert read == {name: {*each} for name, each in wanted.items() if each}


def test_a_text_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "names"
    folder.mkdir()
    assert names.put(folder, "one\n")
    assert not names.put(folder, "one\n")
    assert names.put(folder, "two\n")
    assert (folder / names.FILE).read_text() == "two\n"
    # aardvark-dns would read whatever else was left there.
    assert [each.name for each in folder.iterdir()] == [names.FILE]


@pytest.mark.parametrize("process", ["", "x", "999999999", None])
def test_only_aardvark_is_told(tmp_path: Path, process: str | None) -> None:
    # SIGHUP would end this very process.
    (tmp_path / "aardvark.pid").write_text(str(os.getpid()) if process is None else process)
    assert not names.reload(tmp_path)


def test_who_does_not_run_is_not_told(tmp_path: Path) -> None:
    assert not names.reload(tmp_path)


def test_units_and_networkd_agree_with_what_is_written() -> None:
    folder = Path(__file__).parents[2] / "cloud-config" / "dist"
    unit = (folder / "bedplate-names.service").read_text()
    assert f" --port 53 --filter-search-domain .{names.DOMAIN} run\n" in unit
    network = (folder / "10-bedplate-names.network").read_text().splitlines()
    assert {f"DNS={names.LISTEN}", f"Address={names.LISTEN}/32"} <= set(network)
    assert f"Domains={names.DOMAIN}" in network
