"""Networks: fixtures in `network_fixtures` (see `asserted`), and what all of them have."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from asserted import about, assertions, below, check, check_problems
from cloudconfig.desired import Affects, Desired, File, Reaction
from cloudconfig.document import read_document
from cloudconfig.model.network import Network, read_network_config
from cloudconfig.render.network import render
from hostkit.document.schema import Reading
from hostkit.document.source import DocumentError, Problem

FIXTURES = Path(__file__).parent / "network_fixtures"
FILE = Path("network-config")
FOLDER = PurePosixPath("/etc/systemd/network")


def files_of(desired: Desired) -> Mapping[str, File]:
    rendered = below(FOLDER, desired)
    assert len(rendered.files) == len(desired.items)
    return rendered.files


def read(data: str) -> tuple[Network, list[Problem]]:
    reading = Reading(as_coreos=True)
    return read_network_config(data.encode(), FILE, reading), reading.warnings


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.yaml")))
def test_a_fixture_is_as_it_says(name: str) -> None:
    text = (FIXTURES / name).read_text()
    asserted = assertions(text)
    if errors := about(asserted, "error"):
        with pytest.raises(DocumentError) as error:
            read(text)
        check_problems(error.value.problems, errors)
        return
    network, warnings = read(text)
    check_problems(warnings, about(asserted, "warning"))
    rendered = below(FOLDER, render(network))
    for verb, words in asserted:
        if verb != "warning":
            check(verb, words, rendered)


def test_files_say_whom_they_affect() -> None:
    text = "ethernets: {a: {match: {macaddress: '52:54:00:00:00:01'}, set-name: b}}"
    files = files_of(render(read(text)[0]))
    reload = Reaction.RELOAD
    assert files["10-bedplate-a.network"].affects == (Affects("systemd-networkd.service", reload),)
    assert files["10-bedplate-a.link"].affects == (
        Affects("bedplate-links.service", Reaction.START),
    )
    assert {str(file.path.parent) for file in files.values()} == {"/etc/systemd/network"}
    assert {(file.mode, file.owner, file.group) for file in files.values()} == {
        (0o644, "root", "root")
    }


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "{}", "version: 2", "network: {version: 2}"])
def test_nothing_asked_is_nothing_written(text: str) -> None:
    assert render(read(text)[0]) == Desired()


def test_the_same_words_stand_in_a_cloud_config() -> None:
    words = "version: 2, ethernets: {eth0: {dhcp4: yes, dhcp4-overrides: {use-dns: off}}}"
    document = read_document(f"#cloud-config\nbedplate:\n  network: {{{words}}}\n".encode(), FILE)
    assert document.config.bedplate.network == read(f"{{{words}}}")[0]
    wrapped = f"#cloud-config\nbedplate:\n  network: {{network: {{{words}}}}}\n".encode()
    assert read_document(wrapped, FILE).config.bedplate.network == read(f"{{{words}}}")[0]


def test_a_warning_reaches_the_documents_own() -> None:
    text = "#cloud-config\nbedplate:\n  network:\n    ethernets: {eth0: {gateway4: 10.0.0.1}}\n"
    (warning,) = read_document(text.encode(), FILE).warnings
    assert (warning.place.line, warning.place.column) == (4, 34)


def test_a_key_is_in_no_message() -> None:
    key = "AAAAsecretAAAA"
    peer = f"peers: [{{keys: {{public: x, shared: {key}}}}}]"
    with pytest.raises(DocumentError) as error:
        read(f"tunnels: {{wg0: {{mode: wireguard, key: {key}, {peer}}}}}")
    assert key not in str(error.value)
    assert len(error.value.problems) == 3


def test_a_newline_gets_nowhere() -> None:
    evil = r'"x\n[Network]\nDNS=6.6.6.6"'
    for where in (
        "set-name: {}, match: {{}}",
        "match: {{name: {}}}",
        "match: {{driver: [{}]}}",
        "match: {{macaddress: {}}}",
        "addresses: [{}]",
        "addresses: [{{{}: {{}}}}]",
        "addresses: [{{10.0.0.1/8: {{label: {}}}}}]",
        "nameservers: {{search: [{}]}}",
        "nameservers: {{addresses: [{}]}}",
        "routes: [{{to: {}}}]",
        "dhcp4-overrides: {{hostname: {}}}",
        "dhcp4-overrides: {{use-domains: {}}}",
        "mtu: {}",
    ):
        with pytest.raises(
            DocumentError, match="(?i)" + re.escape("'x?[Network]?DNS=6.6.6.6' is not")
        ):
            read(f"ethernets: {{eth0: {{{where.format(evil)}}}}}")


def test_a_key_that_stands_twice_is_told_with_all_else() -> None:
    text = "version: 2\nversion: 2\nethernets: {eth0: {dhcp: true}}\n"
    with pytest.raises(DocumentError) as caught:
        read_network_config(text.encode(), FILE)
    assert [problem.place.line for problem in caught.value.problems] == [2, 3]


def test_what_is_not_a_document_is_an_error() -> None:
    for data in (b"\xff", b"[]", b"x", b"version: 1", b"a: b: c", b"a: *b", b"{" * 100):
        with pytest.raises(DocumentError, match="network-config:1:"):
            read_network_config(data, FILE)
