"""A member of etcd: what it is told, and what no etcd would take."""

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.config_cli import examine
from cloudconfig.desired import Affects, Desired, Fetched, File, Link, Reaction
from cloudconfig.document import Document, read_document
from cloudconfig.facts import Facts
from cloudconfig.model.endpoints import endpoint
from cloudconfig.model.top import CloudConfig
from cloudconfig.plan import Observed, React, ReloadManager, make_plan
from cloudconfig.render import etcd
from cloudconfig.render.errors import RenderError
from cloudconfig.rendering import render_all
from hostkit.document.source import DocumentError

TARGET = "bedplate-extensions.target"
THREE = "{a: 'http://10.0.0.1:2380', b: 'http://10.0.0.2:2380', c: 'http://10.0.0.3:2380'}"
SECURE = "{a: 'https://10.0.0.1:2380', b: 'https://10.0.0.2:2380'}"
EXTENSION = f"extensions: [{{name: etcd, url: 'https://e.example/x', sha256: '{'0' * 64}'}}]"
TLS = ", ".join(
    f"{peer}{name}: /etc/etcd/{peer}{name}.pem"
    for peer in ("", "peer_")
    for name in ("cert_file", "key_file", "trusted_ca_file")
)
UNIT = Path(__file__).parents[2] / "images/etcd/root/usr/lib/systemd/system/bedplate-etcd.service"


def read(section: str, variables: dict[str, str] | None = None) -> Document:
    text = f"#cloud-config\nbedplate:\n  {EXTENSION}\n  etcd: {section}\n"
    return read_document(text.encode(), Path("c.yaml"), variables)


def config(section: str) -> CloudConfig:
    return read(section).config


def files(desired: Desired) -> dict[str, str]:
    for item in desired.items:
        assert isinstance(item, File)
        assert (item.mode, item.secret) == (0o644, False)
        assert item.affects == (Affects(TARGET),)
    return {str(item.path): item.content.decode() for item in desired.items if type(item) is File}


def told(section: str, hostname: str = "") -> dict[str, str]:
    """The environment of etcd, in small letters."""
    found = files(etcd.render(config(section), Facts(hostname=hostname)))
    lines = found["/etc/bedplate/etcd.env"].splitlines()
    pairs = [line.removeprefix("ETCD_").partition("=") for line in lines]
    return {name.lower(): value for name, _, value in pairs}


def warnings(section: str) -> list[str]:
    return [str(warning) for warning in read(section).warnings]


EXAMPLE = """\
#cloud-config
hostname: etcd-1
write_files:
  - path: /etc/etcd/ca.crt
    content: |
      -----BEGIN CERTIFICATE-----
      -----END CERTIFICATE-----
  - path: /etc/etcd/member.crt
    content: |
      -----BEGIN CERTIFICATE-----
      -----END CERTIFICATE-----
  - path: /etc/etcd/member.key
    permissions: "0600"
    content: |
      -----BEGIN PRIVATE KEY-----
      -----END PRIVATE KEY-----
bedplate:
  extensions:
    - name: etcd
      url: https://files.example.org/etcd.raw
      sha256: 3b1f1c0f4c0b5b7a0a6a4d0cb2b6b0e3a4f5b6c7d8e9fa0b1c2d3e4f5a6b7c8d
  etcd:
    initial_cluster:
      etcd-1: https://192.168.1.11:2380
      etcd-2: https://192.168.1.12:2380
      etcd-3: https://192.168.1.13:2380
    listen_client_urls: https://$private_ipv4:2379
    cert_file: /etc/etcd/member.crt
    key_file: /etc/etcd/member.key
    trusted_ca_file: /etc/etcd/ca.crt
    peer_cert_file: /etc/etcd/member.crt
    peer_key_file: /etc/etcd/member.key
    peer_trusted_ca_file: /etc/etcd/ca.crt
coreos:
  flannel:
    etcd-endpoints: https://192.168.1.11:2379,https://192.168.1.12:2379,https://192.168.1.13:2379
    etcd-cafile: /etc/etcd/ca.crt
    etcd-certfile: /etc/etcd/member.crt
    etcd-keyfile: /etc/etcd/member.key
"""
TRUSTED_NETWORK = """\
#cloud-config
bedplate:
  extensions:
    - name: etcd
      url: https://files.example.org/etcd.raw
      sha256: 3b1f1c0f4c0b5b7a0a6a4d0cb2b6b0e3a4f5b6c7d8e9fa0b1c2d3e4f5a6b7c8d
  etcd:
    listen_client_urls: http://$private_ipv4:2379,http://127.0.0.1:2379
    initial_cluster:
      etcd-1: http://192.168.1.11:2380
      etcd-2: http://192.168.1.12:2380
      etcd-3: http://192.168.1.13:2380
"""


@pytest.mark.parametrize(("text", "count"), [(EXAMPLE, 0), (TRUSTED_NETWORK, 2)])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_three_hosts_make_a_cluster(text: str, count: int, number: int, tmp_path: Path) -> None:
    file = tmp_path / "etcd.yaml"
    file.write_text(text)
    assert [each.severity for each in examine(file)] == ["warning"] * count
    own = text.replace("hostname: etcd-1", f"hostname: etcd-{number}").encode()
    config = read_document(own, file, {"private_ipv4": f"192.168.1.1{number}"}).config
    found = files(etcd.render(config, Facts(hostname=f"etcd-{number}")))
    scheme = "http" if count else "https"
    expected = {
        f"ETCD_NAME=etcd-{number}",
        f"ETCD_LISTEN_PEER_URLS={scheme}://192.168.1.1{number}:2380",
        f"ETCD_ADVERTISE_CLIENT_URLS={scheme}://192.168.1.1{number}:2379",
    }
    assert expected <= set(found["/etc/bedplate/etcd.env"].splitlines())


def test_nothing_said_is_nothing_done() -> None:
    assert etcd.render(CloudConfig(), Facts()) == Desired()


def test_a_host_may_be_a_cluster_of_its_own() -> None:
    assert told("{}", hostname="web-1.example.org") == {
        "name": "web-1",
        "listen_peer_urls": "http://127.0.0.1:2380",
        "listen_client_urls": "http://127.0.0.1:2379",
        "initial_advertise_peer_urls": "http://127.0.0.1:2380",
        "advertise_client_urls": "http://127.0.0.1:2379",
        "initial_cluster": "web-1=http://127.0.0.1:2380",
        "initial_cluster_state": "new",
        "heartbeat_interval": "100",
        "election_timeout": "1000",
        "auto_compaction_mode": "periodic",
        "auto_compaction_retention": "3600s",
    }
    assert told("{}")["initial_cluster"] == "default=http://127.0.0.1:2380"


@pytest.mark.parametrize(
    "cluster",
    [
        THREE,
        "'a=http://10.0.0.1:2380,b=http://10.0.0.2:2380, c=http://10.0.0.3:2380'",
        "{a: ['http://10.0.0.1:2380'], b: 'http://10.0.0.2:2380', c: 'http://10.0.0.3:2380'}",
    ],
)
def test_the_cluster_says_where_a_member_listens(cluster: str) -> None:
    found = told(f"{{name: b, initial-cluster: {cluster}}}")
    assert found["initial_cluster"] == (
        "a=http://10.0.0.1:2380,b=http://10.0.0.2:2380,c=http://10.0.0.3:2380"
    )
    assert found["listen_peer_urls"] == "http://10.0.0.2:2380"
    assert found["initial_advertise_peer_urls"] == "http://10.0.0.2:2380"
    # Nobody outside is let in who was not asked for.
    assert found["listen_client_urls"] == "http://127.0.0.1:2379"


def test_one_document_is_for_all_members() -> None:
    found = told(f"{{initial_cluster: {THREE}}}", hostname="c")
    assert (found["name"], found["listen_peer_urls"]) == ("c", "http://10.0.0.3:2380")


def test_a_host_of_another_name_is_no_member() -> None:
    with pytest.raises(RenderError) as caught:
        etcd.render(config(f"{{initial_cluster: {THREE}}}"), Facts(hostname="d"))
    assert str(caught.value) == (
        "bedplate.etcd: initial_cluster has no member d, which is this one; it has a, b, c"
    )


def test_clients_are_told_where_it_listens_but_not_to_come_by_the_loopback() -> None:
    found = told(
        "{listen_client_urls: 'http://10.0.0.1:2379,http://127.0.0.1:2379',"
        " advertise_client_urls: []}"
    )
    assert found["listen_client_urls"] == "http://10.0.0.1:2379,http://127.0.0.1:2379"
    assert found["advertise_client_urls"] == "http://10.0.0.1:2379"


def test_a_member_may_be_reached_elsewhere_than_it_listens() -> None:
    found = told(
        "{name: a, listen_peer_urls: 'http://[::]:2380', listen_client_urls: 'http://[::]:2379',"
        " initial_advertise_peer_urls: ['http://a.example:2380'],"
        " advertise_client_urls: ['http://a.example:2379']}"
    )
    assert found["listen_peer_urls"] == "http://[::]:2380"
    assert found["initial_cluster"] == "a=http://a.example:2380"
    assert found["advertise_client_urls"] == "http://a.example:2379"


def test_the_hosts_own_address_is_put_in() -> None:
    text = "{name: a, listen_client_urls: 'http://$private_ipv4:2379'}"
    document = read(text, {"private_ipv4": "10.1.2.3"})
    found = files(etcd.render(document.config, Facts()))
    assert "ETCD_ADVERTISE_CLIENT_URLS=http://10.1.2.3:2379\n" in found["/etc/bedplate/etcd.env"]
    with pytest.raises(DocumentError, match=r"c\.yaml:4:39: 'http://:2379' is not scheme, address"):
        read(text, {})


def test_certificates_are_handed_over_by_systemd() -> None:
    section = f"{{name: a, initial_cluster: {SECURE}, {TLS}, listen_client_urls: 'https://10.0.0.1:2379'}}"
    found = files(etcd.render(config(section), Facts()))
    drop_in = found["/etc/systemd/system/bedplate-etcd.service.d/50-credentials.conf"]
    assert drop_in.startswith("[Service]\nLoadCredential=cert_file:/etc/etcd/cert_file.pem\n")
    assert drop_in.count("LoadCredential=") == 6
    settings = told(section)
    assert settings["key_file"] == "/run/credentials/bedplate-etcd.service/key_file"
    assert settings["peer_trusted_ca_file"].endswith("/peer_trusted_ca_file")
    assert (settings["client_cert_auth"], settings["peer_client_cert_auth"]) == ("true", "true")
    assert warnings(section) == []


def test_a_new_certificate_is_noticed() -> None:
    text = (
        f"#cloud-config\nbedplate: {{{EXTENSION}, etcd: {{name: a, {TLS}}}}}\n"
        "write_files:\n- {path: /etc/etcd/cert_file.pem, content: x}\n- {path: /etc/other}\n"
    )
    items = render_all(read_document(text.encode(), Path("c.yaml")).config, Facts()).items
    affects = {str(item.path): item.affects for item in items if not isinstance(item, Link)}
    assert affects["/etc/etcd/cert_file.pem"] == etcd.AFFECTS
    assert affects["/etc/other"] == ()


def test_it_starts_when_all_is_there() -> None:
    desired = render_all(config("{}"), Facts())
    at_boot = make_plan(desired, Observed(booting=True))
    # What brings units was merged before or comes later, and starts them itself.
    assert not [each for each in at_boot if each == React(TARGET, Reaction.RESTART)]
    alone = replace(desired, items=tuple(i for i in desired.items if not isinstance(i, Fetched)))
    assert make_plan(alone, Observed())[-1] == React(TARGET, Reaction.RESTART)
    # Once, and after systemd has read the units that came with the extension.
    assert make_plan(desired, Observed())[-3:] == (
        React("systemd-sysext.service", Reaction.START),
        ReloadManager(),
        React(TARGET, Reaction.START),
    )


def test_what_else_can_be_said() -> None:
    found = told(
        "{initial_cluster_token: web.1, heartbeat-interval: 500, election-timeout: 5000,"
        " auto-compaction-retention: 30m, quota-backend-bytes: 4GiB}"
    )
    assert found["initial_cluster_token"] == "web.1"  # noqa: S105 - no password
    assert (found["heartbeat_interval"], found["election_timeout"]) == ("500", "5000")
    assert found["auto_compaction_retention"] == "1800s"
    assert found["quota_backend_bytes"] == "4294967296"


WRONG = [
    (f"{{name: d, initial_cluster: {THREE}}}", "4:9: initial_cluster has no member d"),
    ("{initial_cluster: {a: 'http://x:1', a: 'http://y:1'}}", "'a' stands twice"),
    (
        "{initial_cluster: {a: 'http://x:1', b: 'http://x:1'}}",
        "4:27: http://x:1 stands there twice, for a and for b",
    ),
    ("{initial_cluster: 'a=http://x:1,b=http://x:1'}", "4:27: 'a=http://x:1,b=http://x:1' is not"),
    ("{initial_cluster: {a: []}}", "a has no URL"),
    ("{initial_cluster: {a b: 'http://x:1'}}", "4:28: 'a b' is no key here"),
    ("{initial_cluster: 'http://x:1'}", "is not names and URLs"),
    ("{name: a, initial_cluster: {a: 'http://x:1'}}", "http://x:1 has a name, and etcd listens on"),
    ("{listen_client_urls: 'http://x:1'}", "4:30: 'http://x:1' is not scheme, address and port"),
    ("{listen_client_urls: 'http://0.0.0.0:1'}", "give advertise_client_urls too"),
    ("{listen_peer_urls: 'http://[::]:1'}", "give initial_advertise_peer_urls too"),
    ("{name: a, listen_client_urls: 'https://10.0.0.1:1'}", "needs cert_file and key_file"),
    (f"{{name: a, initial_cluster: {SECURE}}}", "needs peer_cert_file and peer_key_file"),
    (
        f"{{name: a, initial_cluster: {THREE}, initial_advertise_peer_urls: 'http://10.0.0.9:1'}}",
        "initial_advertise_peer_urls and initial_cluster say differently",
    ),
    ("{initial_cluster_state: existing}", "needs initial_cluster"),
    ("{initial_cluster_state: old}", "is not one of new, existing"),
    ("{advertise_client_urls: 'http://0.0.0.0:1'}", "4:33: 'http://0.0.0.0:1' is not scheme, host"),
    ("{initial_cluster: 'a=http://[::]:1'}", "4:27: 'a=http://[::]:1' is not names and URLs"),
    ("{name: a, listen_peer_urls: 'http://127.0.0.1:2379'}", "each needs a port of its own"),
    ("{cert_file: /a}", "cert_file and key_file belong together"),
    ("{peer_key_file: /a}", "peer_cert_file and peer_key_file belong together"),
    ("{trusted_ca_file: /a}", "trusted_ca_file needs cert_file"),
    ("{client_cert_auth: true}", "client_cert_auth: true beside no trusted_ca_file"),
    (
        f"{{peer_client_cert_auth: false, {TLS}}}",
        "peer_client_cert_auth: false beside a peer_trusted_ca_file",
    ),
    ("{cert_file: /a/../b, key_file: /c}", "is not an absolute path"),
    ("{cert_file: /a%n, key_file: /c}", "is not an absolute path"),
    ("{heartbeat_interval: 300}", "five times heartbeat_interval"),
    ("{auto_compaction_retention: 8}", "from 300 s"),
    ("{data-dir: /var/lib/x}", "it is /var/lib/etcd"),
    ("{initial_clustr: {}}", "did you mean 'initial_cluster'?"),
    ("{name: 'a=b'}", "is not a member's name"),
]


@pytest.mark.parametrize(("section", "message"), WRONG)
def test_what_etcd_would_not_take_is_refused_in_its_place(section: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read(section)
    assert str(caught.value).startswith("c.yaml:4:")
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{listen_client_urls: 'http://10.0.0.1:2379'}", "http://10.0.0.1:2379 is http: whoever"),
        ("{listen_peer_urls: 'http://10.0.0.1:2380'}", "https with peer_cert_file"),
        (f"{{name: a, initial_cluster: {THREE}}}", "http://10.0.0.1:2380 is http: whoever"),
        (
            "{listen_client_urls: 'https://10.0.0.1:2379', cert_file: /a, key_file: /b}",
            "takes anybody for a client without trusted_ca_file",
        ),
    ],
)
def test_what_lets_anybody_in_is_warned_of(section: str, message: str) -> None:
    (warning,) = warnings(section)
    assert warning.startswith("c.yaml:4:9: ")
    assert message in warning


def test_nobody_is_warned_of_the_loopback() -> None:
    assert warnings("{listen_client_urls: ['http://[::1]:2379', 'http://localhost:2379']}") == []


def test_etcd_has_to_come_from_somewhere() -> None:
    document = read_document(b"#cloud-config\nbedplate: {etcd: {}}\n", Path("c.yaml"))
    (warning,) = document.warnings
    assert str(warning).startswith("c.yaml:2:11: etcd without an extension etcd in extensions")


def test_it_is_rendered_with_all_else() -> None:
    paths = {item.path for item in render_all(config("{}"), Facts()).items}
    assert {PurePosixPath("/etc/bedplate/etcd.env")} < paths


def test_the_unit_reads_what_is_rendered() -> None:
    text = UNIT.read_text()
    assert UNIT.name == etcd.UNIT
    assert f"\nEnvironmentFile={etcd.ENVIRONMENT}\n" in text
    assert f"\nConditionPathExists={etcd.ENVIRONMENT}\n" in text
    # What is said in both, etcd takes from the command line, with a warning each time.
    options = re.findall(r"--([a-z\-]+)", text)
    assert set(options) == {"data-dir"}
    assert not {option.replace("-", "_") for option in options} & told("{}").keys()
    wanted = UNIT.parent / "bedplate-extensions.target.wants" / UNIT.name
    assert wanted.resolve() == UNIT.resolve()


HOSTS = st.sampled_from(
    ["10.0.0.1", "[::]", "[fd00::1]", "[::ffff:10.0.0.1]", "localhost", "a.example", "A"]
)


@given(st.sampled_from(["http", "https"]), HOSTS, st.integers(1, 65535))
def test_a_url_comes_back_as_it_was(scheme: str, host: str, port: int) -> None:
    text = f"{scheme}://{host}:{port}"
    assert str(endpoint(text)) == text.lower()


@given(st.one_of(st.text(), st.from_regex(r"https?://[a-z0-9.:\[\]@/?#%]{0,20}", fullmatch=True)))
def test_any_text_is_a_url_or_none(text: str) -> None:
    try:
        found = endpoint(text)
    except ValueError:
        return
    assert str(found) == text.lower()
    assert re.fullmatch(r"https?://[a-z0-9.:_\-\[\]]+:[0-9]+", str(found))
