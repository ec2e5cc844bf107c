import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudconfig.sources import base, command_line, nocloud_net, web
from cloudconfig.sources import ec2 as ec2_source
from cloudconfig.sources import gce as gce_source
from cloudconfig.sources import openstack as openstack_source
from cloudconfig.sources.base import Offer, Source, SourceError
from config_sources_kit import DOCUMENT, Laid
from metadata_servers import (
    KEY,
    Answer,
    Instance,
    Server,
    ec2,
    files,
    gce,
    nocloud_files,
    openstack,
)

INSTANCE = Instance(DOCUMENT)
EC2 = "/latest/"
GCE = "/computeMetadata/v1/"
OPENSTACK = "/openstack/latest/"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(web, "RETRIES", 1)


@pytest.fixture
def laid(tmp_path: Path) -> Laid:
    laid = Laid(tmp_path)
    laid.boot()
    return laid


def look(source: Source, server: Server, laid: Laid) -> Offer:
    laid.metadata = server.url
    offer = source.look(laid.machine)
    assert offer is not None
    return offer


# --- what all have in common


@pytest.fixture(
    params=[
        (ec2_source.SOURCE, ec2, f"{EC2}user-data", f"{EC2}meta-data/instance-id"),
        (openstack_source.SOURCE, openstack, f"{OPENSTACK}user_data", f"{OPENSTACK}meta_data.json"),
        (gce_source.SOURCE, gce, f"{GCE}instance/", f"{GCE}instance/"),
    ],
    ids=["ec2", "openstack", "gce"],
)
def cloud(request: pytest.FixtureRequest) -> Iterator[tuple[Source, Server, str, str]]:
    source, behaviour, user_data, needed = request.param
    with Server(behaviour(INSTANCE)) as server:
        yield source, server, user_data, needed


Cloud = tuple[Source, Server, str, str]


def test_every_cloud_gives_its_document(cloud: Cloud, laid: Laid) -> None:
    source, server, *_ = cloud
    offer = look(source, server, laid)
    assert offer.document == DOCUMENT
    assert offer.source == source.name
    assert offer.file.parts[0] == source.name
    assert offer.public_keys == (KEY,)
    assert offer.hostname.startswith("web-1")
    assert offer.instance_id
    assert offer.variables["public_ipv4"] == "203.0.113.7"
    assert offer.variables["private_ipv4"] == "10.0.2.15"
    assert not offer.warnings


def test_an_error_of_the_server_is_no_missing_document(cloud: Cloud, laid: Laid) -> None:
    source, server, user_data, _ = cloud
    for status in (500, 503, 403):
        server.instead[user_data] = Answer(b"#cloud-config\n", status)
        with pytest.raises(SourceError, match=f"HTTP status {status}"):
            look(source, server, laid)
    assert server.paths.count(user_data) == 2 + 2 + 1


def test_garbage_is_refused(cloud: Cloud, laid: Laid) -> None:
    source, server, _, needed = cloud
    server.instead[needed] = Answer(b"\xff\x00{", headers={"Metadata-Flavor": "Google"})
    with pytest.raises(SourceError, match=r"not (JSON|the plain text)"):
        look(source, server, laid)


def test_no_more_is_read_than_may_be(cloud: Cloud, laid: Laid) -> None:
    source, server, user_data, needed = cloud
    limit = 3 * base.DOCUMENT_LIMIT if source.name == "gce" else base.DOCUMENT_LIMIT
    long = Answer(b"#" * (limit + 1), headers={"Metadata-Flavor": "Google"})
    server.instead[user_data] = long
    with pytest.raises(SourceError, match=f"longer than the {limit} bytes allowed"):
        look(source, server, laid)
    del server.instead[user_data]
    server.instead[needed] = long
    with pytest.raises(SourceError, match="longer than the"):
        look(source, server, laid)


def test_headers_that_never_end_are_given_up(
    cloud: Cloud, laid: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "GAP_SECONDS", 0.2)
    source, server, user_data, _ = cloud
    server.instead[user_data] = Answer(trickle=True)
    with pytest.raises(SourceError, match="gave up after 2 attempts"):
        look(source, server, laid)


def test_a_server_that_is_not_there_is_an_error(cloud: Cloud, laid: Laid) -> None:
    source, server, *_ = cloud
    server.stop()
    with pytest.raises(SourceError, match="Connection refused; gave up"):
        look(source, server, laid)


def test_a_lost_server_is_waited_for(
    cloud: Cloud, laid: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    from updater import fetch  # noqa: PLC0415

    source, server, *_ = cloud
    server.stop()
    monkeypatch.setattr(fetch.SystemClock, "sleep", lambda *_: server.start())
    assert look(source, server, laid).document == DOCUMENT


def test_nobody_is_sent_to_another_server(cloud: Cloud, laid: Laid) -> None:
    source, server, user_data, _ = cloud
    if source.name == "openstack":
        pytest.skip("it sends no token along")
    with Server(files({"stolen": DOCUMENT})) as other:
        server.instead[user_data] = Answer(b"", 302, {"Location": f"{other.url}/stolen"})
        with pytest.raises(SourceError, match="redirected to another server"):
            look(source, server, laid)
        assert not other.asked


def test_without_user_data_there_is_just_metadata(cloud: Cloud, laid: Laid) -> None:
    source, server, *_ = cloud
    behaviours = {"ec2": ec2, "openstack": openstack, "gce": gce}
    for user_data in (None, b"", b"\n"):
        server.behaviour = behaviours[source.name](Instance(user_data))
        offer = look(source, server, laid)
        assert offer.document is None
        assert offer.public_keys == (KEY,)


def test_what_is_wrong_in_metadata_is_left_out(cloud: Cloud, laid: Laid) -> None:
    source, server, *_ = cloud
    behaviours = {"ec2": ec2, "openstack": openstack, "gce": gce}
    server.behaviour = behaviours[source.name](
        Instance(
            DOCUMENT,
            hostname="web\x07",
            public_keys=("ssh-ed25519", KEY),
            private_ipv4="10.0.0",
            public_ipv4="::1",
        )
    )
    offer = look(source, server, laid)
    assert (offer.document, offer.hostname, offer.public_keys) == (DOCUMENT, "", (KEY,))
    assert set(offer.variables) <= {"public_ipv6"}
    assert len(offer.warnings) == 4


# --- EC2


def test_ec2_is_asked_with_a_token(laid: Laid) -> None:
    with Server(ec2(INSTANCE)) as server:
        offer = look(ec2_source.SOURCE, server, laid)
    assert offer.instance_id == "i-0123456789abcdef0"
    assert offer.hostname == "web-1.example.internal"
    assert offer.variables["public_ipv6"] == "2001:db8::7"
    assert (server.asked[0].method, server.asked[0].path) == ("PUT", "/latest/api/token")
    tokens = {request.headers["x-aws-ec2-metadata-token"] for request in server.asked[1:]}
    assert len(tokens) == 1


def test_ec2_may_have_no_public_address_and_no_keys(laid: Laid) -> None:
    instance = Instance(DOCUMENT, public_keys=(), public_ipv4="", ipv6="fd00::7")
    with Server(ec2(instance)) as server:
        offer = look(ec2_source.SOURCE, server, laid)
    assert offer.variables == {"private_ipv4": "10.0.2.15", "private_ipv6": "fd00::7"}
    assert offer.public_keys == ()


def test_ec2_may_give_several_names(laid: Laid) -> None:
    with Server(ec2(Instance(DOCUMENT, hostname="ip-10-0-0-1.a.org b.org"))) as server:
        assert look(ec2_source.SOURCE, server, laid).hostname == "ip-10-0-0-1.a.org"


@pytest.mark.parametrize("token", [b"", b"two words", b"a\nb", b"x" * 1025])
def test_ec2_tokens_are_looked_at(laid: Laid, token: bytes) -> None:
    with Server(ec2(INSTANCE)) as server:
        server.instead["/latest/api/token"] = Answer(token)
        with pytest.raises(SourceError, match="gives no token: it does not speak IMDSv2"):
            look(ec2_source.SOURCE, server, laid)
        server.instead["/latest/api/token"] = Answer(b"", 404)
        with pytest.raises(SourceError, match="gives no token: it does not speak IMDSv2"):
            look(ec2_source.SOURCE, server, laid)


def test_ec2_tokens_are_not_shown(laid: Laid, caplog: pytest.LogCaptureFixture) -> None:
    with Server(ec2(INSTANCE)) as server:
        server.instead["/latest/api/token"] = Answer(b"secret-token")
        with pytest.raises(SourceError, match="HTTP status 401") as caught:
            look(ec2_source.SOURCE, server, laid)
        server.instead[f"{EC2}user-data"] = Answer(b"", 500)
        del server.instead["/latest/api/token"]
        with pytest.raises(SourceError):
            look(ec2_source.SOURCE, server, laid)
    assert "secret-token" not in str(caught.value) + caplog.text


# --- GCE


def test_gce_is_asked_twice(laid: Laid) -> None:
    project = f"a:{KEY}\nb:ssh-rsa {'A' * 40} google-ssh {{}}\nc:ssh-rsa {'B' * 40} c"
    with Server(gce(INSTANCE, project_keys=project)) as server:
        offer = look(gce_source.SOURCE, server, laid)
    assert offer.instance_id == "1234567890123"
    assert offer.hostname == "web-1"
    assert offer.public_keys == (KEY, f"ssh-rsa {'B' * 40} c")
    assert len(server.asked) == 2


def test_gce_keys_of_the_project_may_be_blocked(laid: Laid) -> None:
    blocked = {"block-project-ssh-keys": "TRUE"}
    other = f"a:ssh-rsa {'A' * 40}"
    with Server(gce(INSTANCE, attributes=blocked, project_keys=other)) as server:
        assert look(gce_source.SOURCE, server, laid).public_keys == (KEY,)


def test_gce_user_data_may_be_in_base64(laid: Laid) -> None:
    packed = b"\x1f\x8b\x00\xff"
    with Server(gce(Instance(packed), base64=True)) as server:
        assert look(gce_source.SOURCE, server, laid).document == packed
        wrapped = b64encode(bytes(100)).decode()
        wrapped = f"{wrapped[:76]}\n{wrapped[76:]}\n"
        server.behaviour = gce(
            Instance(b"", hostname="a"),
            base64=True,
            attributes={
                "user-data": wrapped,
            },
        )
        assert look(gce_source.SOURCE, server, laid).document == bytes(100)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"user-data": "!", "user-data-encoding": "base64"}, "user-data: not base64"),
        ({"user-data-encoding": "rot13"}, "user-data-encoding is 'rot13'; expected base64"),
        ({"user-data": "#" * (base.DOCUMENT_LIMIT + 1)}, "user-data: longer than the 4194304"),
    ],
)
def test_gce_user_data_that_is_wrong_is_refused(
    laid: Laid, attributes: dict[str, str], reason: str
) -> None:
    with (
        Server(gce(INSTANCE, attributes=attributes)) as server,
        pytest.raises(SourceError, match=reason),
    ):
        look(gce_source.SOURCE, server, laid)


@pytest.mark.parametrize("flavor", [{}, {"Metadata-Flavor": "Goggle"}])
def test_who_does_not_say_to_be_google_is_not_believed(laid: Laid, flavor: dict[str, str]) -> None:
    with Server(gce(INSTANCE)) as server:
        server.instead[f"{GCE}instance/"] = Answer(b'{"id": 1}', headers=flavor)
        with pytest.raises(SourceError, match=r"the answer's Metadata-Flavor is .*'Google'"):
            look(gce_source.SOURCE, server, laid)


@pytest.mark.parametrize(
    "tree",
    [
        {"id": 1},
        {"id": 1, "attributes": [], "networkInterfaces": {}, "hostname": 7},
        {"id": 1, "attributes": {"ssh-keys": 7}, "networkInterfaces": [{"accessConfigs": [1]}]},
        {"id": 1, "networkInterfaces": [{"ip": 1, "ipv6s": [1], "accessConfigs": [{}]}]},
    ],
)
def test_odd_answers_of_gce_do_no_harm(laid: Laid, tree: dict[str, object]) -> None:
    with Server(gce(INSTANCE)) as server:
        server.instead[f"{GCE}instance/"] = Answer(
            json.dumps(tree).encode(), headers={"Metadata-Flavor": "Google"}
        )
        offer = look(gce_source.SOURCE, server, laid)
    assert (offer.document, offer.hostname, offer.variables) == (None, "", {})


def test_gce_without_an_id_is_refused(laid: Laid) -> None:
    with Server(gce(INSTANCE)) as server:
        server.instead[f"{GCE}instance/"] = Answer(b"", 404)
        with pytest.raises(SourceError, match="gives no instance id"):
            look(gce_source.SOURCE, server, laid)


# --- OpenStack


def test_openstack_may_have_no_addresses(laid: Laid) -> None:
    with Server(openstack(Instance(DOCUMENT, private_ipv4="", public_ipv4=""))) as server:
        assert look(openstack_source.SOURCE, server, laid).variables == {}


def test_openstack_gives_the_network_too(laid: Laid) -> None:
    network = {
        "links": [{"id": "a", "type": "phy", "ethernet_mac_address": "fa:16:3e:60:32:83"}],
        "networks": [{"id": "b", "link": "missing", "type": "ipv4_dhcp"}],
    }
    with Server(openstack(Instance(DOCUMENT, network_data=network))) as server:
        offer = look(openstack_source.SOURCE, server, laid)
    assert offer.network is not None
    assert offer.warnings == (
        "network_data.json: the network 'b' is not used: there is no link 'missing'",
    )


# --- NoCloud over the network


def test_nocloud_comes_from_the_command_line(laid: Laid) -> None:
    contents = {f"web/1/{name}": data for name, data in nocloud_files(INSTANCE).items()}
    with Server(files({**contents, "web/1/network-config": b"version: 1\n"})) as server:
        for end in ("/", ""):
            laid.boot(f"quiet ds=nocloud;s={server.url}/web/1{end}")
            assert nocloud_net.SOURCE.present(laid.machine)
            offer = look(nocloud_net.SOURCE, server, laid)
            assert offer.document == DOCUMENT
            assert offer.instance_id == "i-0123456789abcdef0"
            assert offer.network == b"version: 1\n"
            assert offer.file == Path("nocloud-net/user-data")


def test_nocloud_comes_from_the_serial_number(laid: Laid) -> None:
    with Server(files(nocloud_files(INSTANCE))) as server:
        serial = f"ds=nocloud-net;h=given;i=iid-7;s={server.url}/"
        laid.boot(product_serial=serial)
        assert nocloud_net.SOURCE.present(laid.machine) == (
            "the system's serial number says ds=nocloud with a URL"
        )
        offer = look(nocloud_net.SOURCE, server, laid)
        assert (offer.instance_id, offer.hostname) == ("iid-7", "given")


def test_the_command_line_goes_before_the_serial_number(laid: Laid) -> None:
    with Server(files(nocloud_files(INSTANCE))) as server:
        laid.boot(f"ds=nocloud;seedfrom={server.url}/", product_serial="ds=nocloud;s=http://b/")
        assert look(nocloud_net.SOURCE, server, laid).document == DOCUMENT


def test_a_query_is_continued(laid: Laid) -> None:
    with Server(files(nocloud_files(INSTANCE))) as server:
        laid.boot(f"ds=nocloud;s={server.url}/?secret=x&file=")
        with pytest.raises(SourceError) as caught:
            look(nocloud_net.SOURCE, server, laid)
    assert server.asked[0].query["file"] == ["user-data"]
    assert str(caught.value).startswith(f"{server.url}/?...: user-data is missing")


@pytest.mark.parametrize("line", ["", "ds=nocloud", "ds=nocloud;h=a", "ds=ec2;s=https://a/"])
def test_nocloud_without_a_url_is_not_of_the_network(laid: Laid, line: str) -> None:
    laid.boot(line, product_serial="ds=other;s=https://a/")
    assert nocloud_net.SOURCE.present(laid.machine) == ""


@pytest.mark.parametrize(
    "url", ["/var/lib/seed/", "file:///a/", "ftp://a/", "https://", "http://["]
)
def test_other_urls_are_refused(laid: Laid, url: str) -> None:
    laid.boot(f"ds=nocloud;s={url} cloud-config-url={url}")
    for source in (nocloud_net.SOURCE, command_line.SOURCE):
        assert source.present(laid.machine)
        with pytest.raises(SourceError, match="is no http or https URL"):
            source.look(laid.machine)


# --- cloud-config-url=


def test_a_document_comes_from_a_url(laid: Laid) -> None:
    assert command_line.SOURCE.present(laid.machine) == ""
    with Server(files({"a.yaml": DOCUMENT})) as server:
        laid.boot(f"cloud-config-url={server.url}/a.yaml")
        assert command_line.SOURCE.present(laid.machine)
        offer = look(command_line.SOURCE, server, laid)
        assert offer == Offer("cloud-config-url", Path("cloud-config-url"), DOCUMENT)
        laid.boot(f"cloud-config-url={server.url.replace('//', '//me:pw@')}/b.yaml?token=pw")
        with pytest.raises(SourceError) as caught:
            look(command_line.SOURCE, server, laid)
    assert str(caught.value) == f"{server.url}/b.yaml?...: there is no such file (HTTP status 404)"


def test_secrets_of_a_url_are_not_shown(laid: Laid, caplog: pytest.LogCaptureFixture) -> None:
    with Server(files({})) as server:
        server.instead["/a"] = Answer(b"", 500)
        laid.boot(f"cloud-config-url={server.url.replace('//', '//me:pw@')}/a?token=pw")
        with pytest.raises(SourceError, match="HTTP status 500; gave up") as caught:
            look(command_line.SOURCE, server, laid)
    assert "pw" not in str(caught.value)
    assert "pw" not in caplog.text
