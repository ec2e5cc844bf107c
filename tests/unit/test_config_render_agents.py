"""What is handed to other agents."""

import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Desired, Fetched, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.manifests import pod_problem
from cloudconfig.render import agents
from hostkit.document.source import DocumentError

FOLDER = PurePosixPath("/etc/bedplate")
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


def test_locksmiths_keys_go_to_the_lock() -> None:
    file, found = handed(
        "coreos: {locksmith: {endpoint: 'http://a:2379', window-start: 'Thu 04:00',"
        " window-length: 1h30m}}"
    )
    assert (file.path, file.mode, file.secret) == (FOLDER / "locksmith.json", 0o600, True)
    assert found == {
        "endpoint": "http://a:2379",
        "window_start": "Thu 04:00",
        "window_length": 5400,
    }


def test_labels_are_for_everybody() -> None:
    file, found = handed("bedplate: {labels: {zone: ä, example.org/disk: fast}}")
    assert (file.path, file.mode, file.secret) == (FOLDER / "labels.json", 0o644, False)
    assert found == {"zone": "ä", "example.org/disk": "fast"}


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
            "\nmanifest:5:58: spec.containers[0].imgae: unknown key 'imgae'; did you mean 'image'?",
        ),
    ],
)
def test_what_is_no_pod_is_refused_in_its_place(manifest: str, message: str) -> None:
    indented = manifest.replace("\n", "\n      ").rstrip()
    with pytest.raises(DocumentError) as caught:
        rendered(f"bedplate:\n  pods:\n  - name: web\n    manifest: |\n      {indented}\n")
    assert str(caught.value).startswith("c.yaml:4:5: web: ")
    assert message in str(caught.value)


@given(st.text())
def test_any_text_is_a_pod_or_a_problem(text: str) -> None:
    assert pod_problem(text)
