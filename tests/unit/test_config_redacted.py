"""No secret of a document is in what is shown of it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.document import read_document
from cloudconfig.kinds import BASE_URL, ENDPOINTS, HTTPS, ORIGIN, ORIGINS, URL, Either
from cloudconfig.model.mounts import Mounts
from cloudconfig.model.top import SCHEMA
from cloudconfig.redacted import numbered, public, redact, was_redacted
from config_documents import cloud_configs
from config_strategies import documents
from hostkit.document.schema import Kind, MapOf, Section
from hostkit.document.source import DocumentError

FILE = Path("document")
URLS = (BASE_URL, ENDPOINTS, HTTPS, ORIGIN, ORIGINS, URL)
Steps = tuple[str | int, ...]


def secret_places(kind: Kind, steps: Steps = ()) -> list[tuple[Steps, Kind]]:
    """Every place in a document that the schema calls secret, as keys and indices."""
    parts = kind.parts()
    if not parts:
        return [(steps, kind)] if kind.secret else []
    if len(steps) > 12:
        return []
    found: list[tuple[Steps, Kind]] = []
    for part in parts:
        match part.path:
            case "":
                more: Steps = ()
            case "[]":
                more = (0,)
            case ".*":
                more = ("net.a" if steps[-1:] == ("sysctl",) else "a1",)
            case _:
                more = (part.path.removeprefix("."),)
        found += secret_places(part.kind, (*steps, *more))
    return found


PLACES = secret_places(SCHEMA)


def put(document: dict[str, Any], steps: Steps, value: object) -> None:
    """Set a value deep in a document; where something else stands already, it stays."""
    here: Any = document
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        new: Any = value if following is None else [] if following == 0 else {}
        if isinstance(here, list):
            if not here:
                here.append(new)
            here = here[0]
        elif isinstance(here, dict):
            here = here.setdefault(step, new)
        else:
            return


def test_the_schema_has_secrets_everywhere() -> None:
    found = {".".join(map(str, steps)) for steps, _ in PLACES}
    assert {
        "write_files.0.content",
        "coreos.units.0.content",
        "coreos.units.0.drop_ins.0.content",
        "coreos.flannel.etcd_endpoints",
        "bedplate.pods.0.manifest",
        "bedplate.registries.a1.password",
        "bedplate.proxy.https",
        "bedplate.network.tunnels.a1.keys",
        "phone_home.url",
    } <= found


TOKENS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=12, max_size=20)


@given(
    st.lists(st.sampled_from(PLACES), min_size=1, max_size=8, unique_by=lambda each: each[0]),
    st.data(),
)
def test_no_secret_is_shown(places: list[tuple[Steps, Kind]], data: st.DataObject) -> None:
    document: dict[str, Any] = {"hostname": "web-1"}
    tokens = []
    for steps, kind in places:
        token = data.draw(TOKENS)
        tokens.append(token)
        shapes = [token]
        if kind in URLS:
            shapes = [
                f"https://{token}@h.org/",
                f"https://u:{token}@h.org",
                f"https://h.org/{token}",
                f"https://h.org?{token}",
                f"http://u:12,{token}@h.org:80",
            ]
        value: object = data.draw(st.sampled_from(shapes))
        if data.draw(st.integers(0, 5)) == 0:
            value = data.draw(st.sampled_from([[value], {token: value}, {"a": value}]))
        put(document, steps, value)
    text = redact(f"#cloud-config\n{yaml.safe_dump(document)}".encode(), FILE)
    assert "hostname: web-1" in text
    for token in tokens:
        assert token not in text


@given(documents())
def test_whatever_is_yaml_can_be_shown(text: str) -> None:
    try:
        shown = redact(text.encode(errors="surrogatepass"), FILE)
    except DocumentError:
        return
    # Again is the same: what a host has shown can be compared with a document.
    assert redact(shown.encode(), FILE) == shown


@pytest.mark.parametrize("index", range(len(cloud_configs())))
def test_the_pages_own_documents_stay_readable(index: int) -> None:
    _page, text = cloud_configs()[index]
    shown = redact(text.encode(), FILE)
    assert yaml.safe_load(shown) is not None or yaml.safe_load(text) is None
    addresses = {"private_ipv4": "10.0.0.1", "public_ipv4": "203.0.113.1"}
    config = read_document(text.encode(), FILE, addresses).config
    for file in config.write_files:
        assert str(file.path) in shown
        assert not file.content or file.content not in shown


def shown_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(redact(f"#cloud-config\n{text}".encode(), FILE))
    return found


def test_what_is_no_secret_stays_as_it_was_written() -> None:
    text = "bedplate: {sysctl: {a.b: 1.10, c.d: '0'}, modules: [dummy]}\ntimezone: Europe/Berlin\n"
    assert shown_of(text) == {
        "bedplate": {"sysctl": {"a.b": "1.10", "c.d": "0"}, "modules": ["dummy"]},
        "timezone": "Europe/Berlin",
    }


def test_what_nobody_knows_is_cut_with_its_name() -> None:
    assert shown_of("hunter2: hunter2\npassword: hunter2\n") == {
        "<unknown keys>": "<cut out: 7 bytes>",
        "password": "<cut out: 7 bytes>",
    }
    assert shown_of("bedplate: {sysctl: {net.ipv6.conf.all.stable_secret: 2001:db8::1}}")[
        "bedplate"
    ]["sysctl"] == {"net.ipv6.conf.all.stable_secret": "<cut out: 11 bytes>"}


def test_of_a_mount_only_flags_and_names_are_shown() -> None:
    lines = "[[/dev/vdb, /srv/a, ext4, 'noatime,ro'], ['//u:hunter2@h/a', /srv/b, cifs, 'pass=x']]"
    found = shown_of(f"mounts: {lines}")["mounts"]
    assert found[0] == ["/dev/vdb", "/srv/a", "ext4", "noatime,ro"]
    assert found[1] == ["<cut out: 15 bytes>", "/srv/b", "cifs", "<cut out: 6 bytes>"]


def test_a_network_of_version_1_is_shown_as_version_2() -> None:
    text = """
bedplate:
  network:
    version: 1
    config:
      - {type: physical, name: eth0, subnets: [{type: static, address: 10.0.0.1/24}]}
"""
    found = shown_of(text)["bedplate"]["network"]
    assert "10.0.0.1/24" in json.dumps(found["ethernets"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h.org", "https://h.org"),
        ("https://h.org:8443/", "https://h.org:8443/"),
        ("http://[2001:db8::1]:80/a", "http://[2001:db8::1]:80<cut out: 2 bytes>"),
        ("https://h.org/a?b", "https://h.org<cut out: 4 bytes>"),
        ("https://u@h.org/", "<cut out: 16 bytes>"),
        ("https://u:p/w@h.org/", "<cut out: 20 bytes>"),
        ("https://h.org?a", "<cut out: 15 bytes>"),
    ],
)
def test_of_a_url_the_server_is_left(url: str, shown: str) -> None:
    assert public(url) == shown


def test_secrets_that_differ_have_different_numbers() -> None:
    label = numbered()
    text = b"#cloud-config\nwrite_files:\n  - {path: /etc/a, content: %s}\n"
    one, two, again = (redact(text % each, FILE, label) for each in (b"abc", b"xyz", b"abc"))
    assert one == again != two
    assert "<cut out: 3 bytes, no. 2>" in two
    assert was_redacted(two.encode())
    assert not was_redacted(text)


def test_every_composite_kind_is_walked() -> None:
    """A kind with parts that the redaction does not know would be taken for a single value."""
    # Those that have parts but are single to it must be among those that it unwraps by hand.
    known = {"Section", "MapOf", "ListOf", "Either", "Later", "NetworkKind", "Aliased", "DevicesOf"}

    def walk(kind: Kind, depth: int) -> set[str]:
        parts = kind.parts()
        if not parts or depth > 14:
            return set()
        return {type(kind).__name__}.union(*(walk(part.kind, depth + 1) for part in parts))

    assert walk(SCHEMA, 0) <= known
    assert isinstance(SCHEMA, Section)
    assert not Mounts().parts()
    assert Either(scalar=URL).secret
    assert MapOf("a", URL).secret
