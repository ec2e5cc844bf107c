"""What is handed to other agents."""

import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Affects, Desired, Fetched, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.manifests import manifest_problems
from cloudconfig.render import agents
from hostkit.document.source import DocumentError
from overlay.places import Places
from overlay.settings import parse
from podagent.cluster.settings import load
from podagent.places import Places as PodPlaces

FOLDER = PurePosixPath("/etc/bedplate")
PODS = (Affects("bedplate-pods.service"),)
FLANNEL = (
    "coreos:\n  flannel: {etcd-endpoints: ' https://a:2379 , https://b:2379,', etcd-cafile: /ca,"
    " etcd-certfile: /c, etcd-keyfile: /k, etcd-password: pw, etcd-username: me, ip-masq: off}\n"
)
POD = (
    "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n"
    "spec: {containers: [{name: app, image: 'a:1'}]}\n"
)


def rendered(body: str) -> Desired:
    config = read_document(f"#cloud-config\n{body}\n".encode(), Path("c.yaml")).config
    return agents.render(config, Facts())


def handed(body: str) -> tuple[File, object]:
    (file,) = rendered(body).items
    assert isinstance(file, File)
    return file, json.loads(file.content)


def test_nothing_said_is_nothing_done() -> None:
    assert rendered("") == Desired()


def test_flannels_keys_go_to_the_overlay() -> None:
    file, found = handed(
        "coreos:\n  flannel:\n    etcd-endpoints: 'https://a:2379,https://b:2379'\n"
        "    etcd-cafile: /etc/ca.pem\n    etcd-password: pw\n    ip-masq: off\n"
    )
    assert (file.path, file.mode, file.secret) == (FOLDER / "overlay.json", 0o600, True)
    assert found == {
        "etcd_endpoints": "https://a:2379,https://b:2379",
        "etcd_cafile": "/etc/ca.pem",
        "etcd_password": "pw",
        "ip_masq": False,
    }


def test_labels_are_for_everybody() -> None:
    file, found = handed("bedplate: {labels: {zone: ä, example.org/disk: fast}}")
    assert (file.path, file.mode, file.secret) == (FOLDER / "labels.json", 0o644, False)
    assert found == {"zone": "ä", "example.org/disk": "fast"}
    assert file.affects == PODS


def cluster(section: str, more: str = "") -> object:
    """What the pod agent is told."""
    items = rendered(f"{more}bedplate: {{cluster: {section}}}").items
    (file,) = [item for item in items if item.path == FOLDER / "cluster.json"]
    assert isinstance(file, File)
    assert (file.mode, file.secret, file.affects) == (0o600, True, PODS)
    return json.loads(file.content)


def test_a_cluster_has_the_names_of_the_overlay() -> None:
    assert cluster(
        "{endpoints: 'https://a:2379, http://[::1]', ca-file: /etc/ca.pem, cert-file: /etc/c.pem,"
        " key-file: /etc/k.pem, username: me, password: pw, services-range: 10.9.0.0/20}"
    ) == {
        "etcd_endpoints": "https://a:2379, http://[::1]",
        "etcd_cafile": "/etc/ca.pem",
        "etcd_certfile": "/etc/c.pem",
        "etcd_keyfile": "/etc/k.pem",
        "etcd_username": "me",
        "etcd_password": "pw",
        "services_range": "10.9.0.0/20",
    }
    listed = "{endpoints: ['https://a:2379/', 'https://b']}"
    assert cluster(listed) == {"etcd_endpoints": "https://a:2379/,https://b"}


def test_a_cluster_has_the_overlays_etcd_if_none_is_said() -> None:
    assert cluster("{services_range: 10.9.0.0/20}", FLANNEL) == {
        "etcd_endpoints": " https://a:2379 , https://b:2379,",
        "etcd_cafile": "/ca",
        "etcd_certfile": "/c",
        "etcd_keyfile": "/k",
        "etcd_username": "me",
        "etcd_password": "pw",
        "services_range": "10.9.0.0/20",
    }
    assert cluster("{endpoints: 'http://c'}", FLANNEL) == {"etcd_endpoints": "http://c"}


def test_what_the_agent_of_the_overlay_takes_is_taken_here() -> None:
    text = "https://a:2379 , https://[fd00::1]:2379,http://10.0.0.1/,"
    settings = json.dumps({"etcd_endpoints": text}).encode()
    assert len(parse(settings, Places()).access.endpoints) == 3
    assert cluster(f"{{endpoints: '{text}'}}") == {"etcd_endpoints": text}


def test_the_pod_agent_reads_what_is_handed_to_it(tmp_path: Path) -> None:
    places = PodPlaces(tmp_path)
    places.cluster.parent.mkdir(parents=True)
    places.cluster.write_text(json.dumps(cluster("{services_range: 10.9.0.0/20}", FLANNEL)))
    settings = load(places)
    assert settings is not None
    assert settings.access.endpoints == ("https://a:2379", "https://b:2379")
    assert (settings.access.ca, settings.access.username) == (tmp_path / "ca", "me")
    assert str(settings.services) == "10.9.0.0/20"


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            "{}",
            "2:12: bedplate.cluster without endpoints, and coreos.flannel has no etcd_endpoints",
        ),
        ("{endpoints: []}", "2:12: bedplate.cluster without endpoints"),
        ("{ca_file: /ca}", "2:21: ca_file without endpoints; without those all of etcd's are"),
        ("{endpoints: 'a:2379'}", "2:33: this is not http or https URLs of hosts such as"),
        ("{endpoints: 'http://a:0'}", "2:33: this is not http or https URLs"),
        ("{endpoints: 'http://a,,http://b'}", "2:33: this is not http or https URLs"),
        ("{endpoints: ['http://a', 'http://a/b']}", "2:46: this is not an http or https URL"),
        ("{endpoints: 'http://a', key_file: /k}", "2:21: cert_file and key_file belong together"),
        ("{endpoints: 'http://a', username: a}", "2:21: username and password belong together"),
        ("{endpoints: 'http://a', ca_file: ca.pem}", "2:54: 'ca.pem' is not an absolute path"),
        ("{endpoints: 'http://a', services_range: 10.9.0.1/20}", "2:61: '10.9.0.1/20' is not a ra"),
        ("{endpoints: 'http://a', services_range: 10.9.0.0/29}", "2:61: '10.9.0.0/29' is not a ra"),
    ],
)
def test_what_is_no_cluster_is_refused_in_its_place(section: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        cluster(section)
    assert f"c.yaml:{message}" in str(caught.value)


def test_an_overlay_without_endpoints_has_none_to_share() -> None:
    with pytest.raises(DocumentError, match=r"^c.yaml:3:12: bedplate.cluster without endpoints"):
        cluster("{}", "coreos: {flannel: {etcd-cafile: /ca}}\n")


def test_no_message_has_the_password_of_a_url() -> None:
    for endpoints in ("'http://me:sesame@a'", "['http://me:sesame@a']"):
        with pytest.raises(DocumentError) as caught:
            cluster(f"{{endpoints: {endpoints}}}")
        assert "sesame" not in str(caught.value)


def test_a_pod_is_a_file_of_roots_own() -> None:
    indented = POD.replace("\n", "\n      ").rstrip()
    desired = rendered(f"bedplate:\n  pods:\n  - name: web\n    manifest: |-\n      {indented}\n")
    path = FOLDER / "pods/web.yaml"
    assert desired.items == (File(path, POD.encode(), mode=0o600, secret=True),)


def test_a_pod_elsewhere_is_fetched() -> None:
    digest = "0" * 64
    url = "https://e.example/web.yaml"
    desired = rendered(f"bedplate: {{pods: [{{name: web, url: '{url}', sha256: '{digest}'}}]}}")
    assert desired.items == (Fetched(FOLDER / "pods/web.yaml", url, digest, mode=0o600),)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("a: [", "web: manifest:2:1: not YAML"),
        ("- a", "manifest:1:1: expected a mapping with kind"),
        (POD.replace("v1", "v2"), "manifest:1:13: apiVersion: 'v2' is not supported: it is v1"),
        (POD.replace("Pod", "Deployment"), "manifest:1:1: the host's own files hold Pods"),
        (POD.replace("kind: Pod\n", ""), "manifest:1:1: kind is missing"),
        (POD.replace("name: web", "labels: {}"), "manifest:4:3: metadata: missing: name"),
        (POD.replace("name: web", "name: Web_1"), "manifest:4:9: metadata.name: 'Web_1' is not a"),
        (POD.replace("metadata:\n  name: web\n", "metadata: web\n"), "metadata: found text"),
        (POD.partition("spec")[0], "manifest:1:1: missing: spec"),
        (f"{POD}---\n{POD}", "manifest:7:1: a manifest has a Pod, a Deployment or a DaemonSet"),
        (
            POD.replace("image", "tty: true, command: run, imgae"),
            (
                "\nc.yaml:5:15: web: manifest:5:58: spec.containers[0].imgae: unknown key 'imgae';"
                " did you mean 'image'?"
            ),
        ),
    ],
)
def test_what_is_no_pod_is_refused_in_its_place(manifest: str, message: str) -> None:
    indented = manifest.replace("\n", "\n      ").rstrip()
    with pytest.raises(DocumentError) as caught:
        rendered(f"bedplate:\n  pods:\n  - name: web\n    manifest: |\n      {indented}\n")
    assert str(caught.value).startswith("c.yaml:5:15: web: manifest:")
    assert message in str(caught.value)


@given(st.text())
def test_any_text_is_a_pod_or_a_problem(text: str) -> None:
    assert manifest_problems(text)
