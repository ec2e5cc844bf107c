"""Which host is meant, who we are to it, and what is asked by the contract."""

import re
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder import cli
from builder.fleet.access import FILE_VARIABLE, PASSWORD_VARIABLE
from builder.fleet.listing import HostRow
from builder.host import access, hosts, run
from builder.host.access import Given, find, load
from builder.host.asking import ask
from builder.host.target import Target
from builder.trust.errors import PassphraseError
from fleet_kit import FleetEtcd
from host_kit import PASSPHRASE, Site, make_site
from hostapi.contract import ENDPOINTS, MAXIMUM_BODY
from updater.errors import BedplateError, InputError


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


# --- Addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "url", "name"),
    [
        ("192.0.2.7", "https://192.0.2.7:7443", "192.0.2.7"),
        ("web-1:443", "https://web-1:443", "web-1"),
        ("[2001:db8::7]:1", "https://[2001:db8::7]:1", "2001:db8::7"),
        ("[2001:db8::7]", "https://[2001:db8::7]:7443", "2001:db8::7"),
        ("2001:db8::7", "https://[2001:db8::7]:7443", "2001:db8::7"),
    ],
)
def test_an_address_is_read(text: str, url: str, name: str) -> None:
    found = Target.parse(text)
    assert (found.url, found.name) == (url, name)
    assert Target.parse(text, "other").name == "other"


@pytest.mark.parametrize(
    "text",
    ["", "a b", "web:", "web:0", "web:99999", "web:x", "[::1", "[web]:1", "::1%lo", "a/b", "-x",
     "user@web", "web:7:8", "[::1]x", "web?x", "ü"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no host: expected"):
        Target.parse(text)


@given(st.text())
def test_no_text_becomes_another_url(text: str) -> None:
    try:
        found = Target.parse(text)
    except InputError:
        return
    assert not set(found.address) & set("/?#@\\ \n")


# --- Requests -------------------------------------------------------------------------------------


def test_a_request_of_every_endpoint_can_be_made() -> None:
    samples = {"name": "x", "url": "https://x/y", "sha256": "0" * 64, "hostname": "x"}
    for each in ENDPOINTS:
        required = [one.name for one in each.parameters + each.fields if one.required]
        found = ask(each.name, {name: samples[name] for name in required}, "x")
        assert found.path.startswith("/v1/")
        assert "{" not in found.path
        assert (found.body is not None) == bool(each.fields or each.document)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("logs", {"boot": 1}),
        ("logs", {"unit": "../x"}),
        ("logs", {"nonsense": "x"}),
        ("crash", {"name": "../../etc/passwd"}),
        ("crash", {}),
        ("wipe", {"hostname": "a b"}),
    ],
)
def test_what_the_host_would_refuse_is_not_sent(name: str, arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        ask(name, arguments)


def test_a_document_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(InputError, match="1048576 at most"):
        ask("config-plan", document="x" * (MAXIMUM_BODY + 1))


# --- Identities -----------------------------------------------------------------------------------


def test_files_beside_the_certificate_are_found(site: Site) -> None:
    for identity in (site.identity, site.identity.parent):
        found = find(Given(identity=identity), {}, site.folder)
        folder = site.folder / "ops"
        assert found == access.Files(folder / "ops.pem", folder / "ops.key", folder / "ca.pem")


def test_a_file_says_it_once_for_all(site: Site, tmp_path: Path) -> None:
    text = f"identity: {site.folder}/ops\npassphrase_file: {site.folder}/passphrase\n"
    named = tmp_path / "host.yaml"
    named.write_text(text)
    by_option = find(Given(settings=named), {}, tmp_path)
    assert by_option == find(Given(), {access.FILE_VARIABLE: str(named)}, tmp_path)
    default = tmp_path / access.DEFAULT_FILE
    default.parent.mkdir(parents=True)
    named.rename(default)
    assert by_option == find(Given(), {}, tmp_path)
    assert by_option.passphrase_file == site.folder / "passphrase"
    load(by_option)


def test_another_identity_takes_nothing_of_the_file(site: Site, tmp_path: Path) -> None:
    default = tmp_path / access.DEFAULT_FILE
    default.parent.mkdir(parents=True)
    default.write_text(f"identity: {site.folder}/ops\nkey_file: {site.folder}/ops/ops.key\n")
    other = Site(tmp_path, site.ca).issue("other")
    assert find(Given(identity=other), {}, tmp_path).key == other.with_suffix(".key")
    # Nor where the file is named beside it: the key is of the file's identity.
    found = find(Given(settings=default, identity=other), {}, tmp_path)
    assert found.key == other.with_suffix(".key")


def test_nothing_at_all_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing says who you are: give --identity"):
        find(Given(), {}, tmp_path)


def test_wrong_files_are_told(site: Site, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; expected a certificate"):
        find(Given(identity=tmp_path / "x.pem"), {}, tmp_path)
    with pytest.raises(InputError, match=r"expected one certificate with its key.*: none"):
        find(Given(identity=tmp_path), {}, tmp_path)
    (tmp_path / "x.pem").touch()
    with pytest.raises(InputError, match=r"x.key: no such file; if it is elsewhere, give --key"):
        find(Given(identity=tmp_path / "x.pem"), {}, tmp_path)
    given = Given(identity=site.identity, ca_file=tmp_path / "y/x.pem")
    with pytest.raises(InputError, match=r"x.pem: no such file; .* --ca-file"):
        find(given, {}, tmp_path)
    named = tmp_path / "host.yaml"
    named.write_text("identity: nowhere\nca: x.pem\n")
    with pytest.raises(InputError, match=r"host.yaml:1:11: no file and no folder 'nowhere'"):
        find(Given(settings=named), {}, tmp_path)


def test_a_passphrase_is_asked_for_once_and_a_wrong_one_is_told(site: Site) -> None:
    files = find(Given(identity=site.identity), {}, site.folder)
    asked: list[str] = []

    def source(opens: str) -> str:
        asked.append(opens)
        return PASSPHRASE

    assert load(files, source).context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert asked == [f"key {files.key}"]
    with pytest.raises(BedplateError, match="expected a certificate and its key in PEM, and the"):
        load(files, lambda _: "another one")

    def none(_: str) -> str:
        raise PassphraseError("no passphrase")

    with pytest.raises(PassphraseError):
        load(files, none)


def test_a_key_of_another_certificate_and_garbage_are_told(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path, site.ca)
    one, two = other.issue("one"), other.issue("two")
    given = Given(identity=one, key_file=two.with_suffix(".key"))
    with pytest.raises(BedplateError, match="the key is of another certificate"):
        load(find(given, {}, tmp_path))
    one.with_name("ca.pem").write_text("garbage")
    with pytest.raises(BedplateError, match=r"ca.pem: expected CA certificates in PEM"):
        load(find(Given(identity=one), {}, tmp_path))


# --- Many hosts -----------------------------------------------------------------------------------


def test_a_file_of_hosts_is_read(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("# ours\n192.0.2.7 web-1 # the first\n\n[2001:db8::7]:1\n192.0.2.7:1 web-2\n")
    one, two, _ = hosts.of_file(path)
    assert (one.address, one.name) == ("192.0.2.7", "web-1")
    assert (two.url, two.name) == ("https://[2001:db8::7]:1", "2001:db8::7")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a\na b c\n", ":2: expected ADDRESS or ADDRESS NAME"),
        ("a/b\n", ":1: 'a/b' is no host"),
        ("a x\nb x\n", ":2: x is there twice"),
        ("192.0.2.7\n192.0.2.7:7443 web-1\n", ":2: https://192.0.2.7:7443 is there twice"),
        ("Web-1 a\nweb-1. b\n", ":2: https://web-1:7443 is there twice"),
        ("[2001:db8:0::7]\n2001:DB8::7\n", r":2: https://\[2001:db8::7\]:7443 is there twice"),
        ("# nothing\n", ": no hosts in it"),
    ],
)
def test_a_file_of_hosts_that_is_wrong_is_told(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(InputError, match=what):
        hosts.of_file(tmp_path / "hosts")


def row(name: str, *addresses: str, port: int = 7443, **labels: str) -> HostRow:
    return HostRow(name, True, "", "7", 0, 0, addresses, labels, port)  # noqa: FBT003


def test_hosts_are_chosen_by_all_of_their_labels() -> None:
    rows = [row("a", "192.0.2.1", role="web", zone="x"), row("b", "192.0.2.2", role="web")]
    assert [each.name for each in hosts.chosen(rows, {"role": "web"})] == ["a", "b"]
    (only,) = hosts.chosen(rows, hosts.labels("role=web,zone=x"))
    assert (only.name, only.address, only.port) == ("a", "192.0.2.1", 7443)
    (odd,) = hosts.chosen([row("d", "192.0.2.4", port=8443, role="web")], {"role": "web"})
    assert odd.url == "https://192.0.2.4:8443"
    with pytest.raises(BedplateError, match="no host in etcd has the labels role=db"):
        hosts.chosen(rows, {"role": "db"})
    with pytest.raises(BedplateError, match="c: it has told etcd no address"):
        hosts.chosen([row("c", role="web")], {"role": "web"})


def test_the_option_means_the_hosts_in_etcd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    etcd = FleetEtcd()
    etcd.add_host("web-1", labels={"role": "web"})
    etcd.add_host("db-2", labels={"role": "db"})
    monkeypatch.setattr("hostkit.etcd.Client", lambda _access: etcd)
    (tmp_path / "fleet.yaml").write_text("endpoints: http://a:1\n")
    words = ["--label", "role=web", "--fleet", str(tmp_path / "fleet.yaml"), "reboot"]
    (only,) = run._targets(cli.parser().parse_args(["host", *words]))
    assert (only.name, only.address) == ("web-1", "10.0.0.1")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "write its endpoints to ~/.config/bedplate/fleet.yaml, or name another such file by"),
        ("endpoints: http://a:1\nusername: me\n", "write password_file to the fleet.yaml, or set"),
    ],
)
def test_an_etcd_that_is_not_to_be_found_is_told_without_options_that_there_are_not(
    text: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (FILE_VARIABLE, PASSWORD_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    if text:
        (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(InputError, match=advice) as caught:
        hosts.of_fleet({"role": "web"}, tmp_path / "fleet.yaml" if text else None)
    assert set(re.findall(r"--[a-z-]+", str(caught.value))) <= {"--fleet"}


@pytest.mark.parametrize("text", ["", "role", "=web", "role=web,"])
def test_labels_that_are_none_are_told(text: str) -> None:
    with pytest.raises(InputError, match="expected KEY=VALUE"):
        hosts.labels(text)
