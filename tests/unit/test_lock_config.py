"""The reboot lock in a document: which strategy it means, and which etcd it is in."""

import json
from pathlib import Path

import pytest

from cloudconfig.desired import Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import lock, update
from hostkit.document.source import DocumentError
from rebootlock.places import Places
from rebootlock.settings import load

LOCKSMITH = (
    "locksmith: {endpoint: 'https://a:2379,https://b:2379', etcd-cafile: /ca, etcd-certfile: /c,"
    " etcd-keyfile: /k, etcd-username: me, etcd-password: pw, group: web servers}"
)
CLUSTER = "cluster: {endpoints: ['http://c:2379'], username: me, password: pw}"
FLANNEL = "flannel: {etcd-endpoints: 'http://f:2379', etcd-cafile: /ca}"
LOCK = "update: {reboot-strategy: etcd-lock}"


def config(body: str) -> CloudConfig:
    return read_document(f"#cloud-config\n{body}\n".encode(), Path("c.yaml")).config


def strategy(body: str) -> object:
    """What the updater is told of strategy and window."""
    (file,) = update.render(config(body), Facts()).items
    assert isinstance(file, File)
    return json.loads(file.content)


def settings(body: str) -> dict[str, str]:
    (file,) = lock.render(config(body), Facts()).items
    assert isinstance(file, File)
    assert (file.mode, file.secret, file.affects) == (0o600, True, ())
    found = json.loads(file.content)
    assert isinstance(found, dict)
    return found


def test_locksmiths_keys_are_the_locks() -> None:
    assert settings(f"coreos: {{{LOCKSMITH}}}") == {
        "etcd_endpoints": "https://a:2379,https://b:2379",
        "etcd_cafile": "/ca",
        "etcd_certfile": "/c",
        "etcd_keyfile": "/k",
        "etcd_username": "me",
        "etcd_password": "pw",
        "group": "web servers",
    }


@pytest.mark.parametrize(
    ("body", "endpoints"),
    [
        (f"coreos: {{{LOCKSMITH}, {FLANNEL}}}\nbedplate: {{{CLUSTER}}}", "https://a:2379,"),
        (f"coreos: {{{LOCK}, {FLANNEL}}}\nbedplate: {{{CLUSTER}}}", "http://c:2379"),
        (f"coreos: {{{LOCK}, {FLANNEL}}}\nbedplate: {{cluster: {{}}}}", "http://f:2379"),
        (f"coreos: {{{LOCK}, {FLANNEL}}}", "http://f:2379"),
        (f"coreos: {{{LOCK}}}\nbedplate: {{etcd: {{}}}}", "http://127.0.0.1:2379"),
        (
            (
                f"coreos: {{{LOCK}}}\nbedplate: {{etcd: {{listen-client-urls: 'http://0.0.0.0:4001',"
                " advertise-client-urls: 'http://10.0.0.1:4001'}}"
            ),
            "http://127.0.0.1:4001",
        ),
        # Whoever has a cluster may still hold what it took under another document.
        (f"bedplate: {{{CLUSTER}}}", "http://c:2379"),
        (f"coreos: {{{LOCKSMITH}, update: {{reboot-strategy: off}}}}", "https://a:2379,"),
    ],
)
def test_without_its_own_the_cluster_s_etcd_is_taken(body: str, endpoints: str) -> None:
    assert settings(body)["etcd_endpoints"].startswith(endpoints)


@pytest.mark.parametrize("body", ["", f"coreos: {{{FLANNEL}}}", "coreos: {locksmith: {group: a}}"])
def test_without_a_lock_there_are_no_settings(body: str) -> None:
    assert lock.render(config(body), Facts()) == Desired()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.settings.parent.mkdir(parents=True)
    (file,) = lock.render(config(f"coreos: {{{LOCKSMITH}}}"), Facts()).items
    assert isinstance(file, File)
    places.settings.write_bytes(file.content)
    found = load(places)
    assert found.group == "web servers"
    assert found.access.endpoints == ("https://a:2379", "https://b:2379")
    assert found.access.certificate == tmp_path / "c"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"coreos: {{{LOCK}, {FLANNEL}}}", {"strategy": "etcd-lock"}),
        (
            f"coreos: {{{FLANNEL}}}\nbedplate: {{update: {{strategy: etcd-lock}}}}",
            {"strategy": "etcd-lock"},
        ),
        # locksmith's best effort: with the lock where there is etcd.
        (
            f"coreos: {{update: {{reboot-strategy: best-effort}}, {FLANNEL}}}",
            {"strategy": "etcd-lock"},
        ),
        ("coreos: {update: {reboot-strategy: best-effort}}", {"strategy": "reboot"}),
        # Both must hold, the window and the lock, whichever section says which.
        (
            (
                "coreos: {update: {reboot-strategy: etcd-lock}, locksmith: {endpoint: 'http://a',"
                " window-start: 'Thu 04:00', window-length: 1h}}"
            ),
            {
                "strategy": "etcd-lock",
                "window": {"start": "04:00", "length": "3600", "days": ["thu"]},
            },
        ),
        (
            (
                "coreos: {locksmith: {endpoint: 'http://a', window-start: 04:00,"
                " window-length: 1h}}\n"
                "bedplate: {update: {strategy: etcd-lock}}"
            ),
            {"strategy": "etcd-lock", "window": {"start": "04:00", "length": "3600"}},
        ),
        (
            (
                f"coreos: {{{LOCK}, {FLANNEL}}}\n"
                "bedplate: {update: {window: {start: 04:00, length: 1h}}}"
            ),
            {"strategy": "etcd-lock", "window": {"start": "04:00", "length": "3600"}},
        ),
        (
            (
                "coreos: {update: {reboot-strategy: best-effort}, locksmith: {window-start: 04:00,"
                " window-length: 1h}}"
            ),
            {"strategy": "window", "window": {"start": "04:00", "length": "3600"}},
        ),
    ],
)
def test_what_the_updater_is_told(body: str, found: object) -> None:
    assert strategy(body) == found


def test_two_strategies_contradict_each_other() -> None:
    with pytest.raises(
        DocumentError, match=r"reboot-strategy and bedplate\.update\.strategy contradict"
    ):
        config(f"coreos: {{{LOCK}, {FLANNEL}}}\nbedplate: {{update: {{strategy: reboot}}}}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            f"coreos: {{{LOCK}}}",
            "2:36: the strategy etcd-lock needs etcd: give coreos.locksmith.end",
        ),
        ("bedplate: {update: {strategy: etcd-lock}}", "2:31: the strategy etcd-lock needs etcd"),
        (
            (
                f"coreos: {{{LOCK}}}\nbedplate: {{etcd: {{cert-file: /c, key-file: /k,"
                " listen-client-urls: 'https://10.0.0.1:2379'}}"
            ),
            "2:36: the strategy etcd-lock needs etcd",
        ),
        ("coreos: {locksmith: {endpoint: a}}", "2:32: this is not http or https URLs of hosts"),
        ("coreos: {locksmith: {endpoint: 'http://a', etcd-cafile: ca}}", "is not an absolute path"),
        (
            "coreos: {locksmith: {endpoint: 'http://a', etcd-keyfile: /k}}",
            "etcd_certfile and etcd_keyfile belong together",
        ),
        (
            "coreos: {locksmith: {endpoint: 'http://a', etcd-username: a}}",
            "etcd_username and etcd_password belong together",
        ),
        ("coreos: {locksmith: {etcd-cafile: /ca}}", "etcd_cafile without endpoint; without that"),
        ("coreos: {locksmith: {group: ..}}", "'..' is not a group's name"),
        ("coreos: {locksmith: {window-start: 14:00}}", "window-start and window-length belong"),
    ],
)
def test_what_cannot_work_is_told_in_its_place(body: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        config(body)
    assert f"c.yaml:{message}" in str(caught.value) or message in str(caught.value)


@pytest.mark.parametrize("strategy", ["", "update: {reboot-strategy: reboot}, "])
def test_a_lock_that_nobody_takes_is_warned_of(strategy: str) -> None:
    body = "locksmith: {endpoint: 'http://a', group: web}"
    text = f"#cloud-config\ncoreos: {{{strategy}{body}}}\n"
    found = read_document(text.encode(), Path("c.yaml")).warnings
    assert [each.message.partition(": ")[0] for each in found] == [
        "endpoint does nothing",
        "group does nothing",
    ]
    assert all("coreos.update.reboot-strategy: etcd-lock does" in each.message for each in found)


def test_no_message_has_a_password() -> None:
    with pytest.raises(DocumentError) as caught:
        config("coreos: {locksmith: {endpoint: 'http://me:sesame@a'}}")
    assert "sesame" not in str(caught.value)


def test_the_handbooks_documents_take_the_lock() -> None:
    page = (Path(__file__).parents[2] / "docs/operators-handbook.md").read_text()
    section = page.partition("## One host at a time: the reboot lock")[2].partition("\n## ")[0]
    coreos, bedplate = (block.partition("```")[0] for block in section.split("```yaml\n")[1:])
    for text in (coreos, bedplate):
        found = read_document(text.encode(), Path("c.yaml")).config
        (file,) = update.render(found, Facts()).items
        assert isinstance(file, File)
        assert json.loads(file.content) == {"strategy": "etcd-lock"}
        assert lock.render(found, Facts()).items
