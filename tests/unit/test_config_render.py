"""Hosts, accounts, files and units: a document's text to the files that it means."""

import base64
import gzip
from pathlib import Path, PurePosixPath

import pytest

from cloudconfig.desired import Affects, Command, Desired, Fetched, File, Link
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import extensions, files, hosts, units, users
from cloudconfig.verbs import UnitCommand
from hostkit.document.source import DocumentError

FACTS = Facts(
    passwd="root:x:0:0:root:/root:/usr/bin/bash\nnobody:x:65534:65534::/:/x\n",  # noqa: S106
    group="root:x:0:\nadm:x:4:\nnogroup:x:65534:\n",
    units={"podman.socket": "[Install]\nWantedBy=sockets.target\n"},
)
SHA = "0" * 64


def rendered(module: object, text: str, facts: Facts = FACTS) -> Desired:
    document = read_document(f"#cloud-config\n{text}".encode(), Path("x.yaml"))
    desired = module.render(document.config, facts)  # type: ignore[attr-defined] # modules as values
    assert isinstance(desired, Desired)
    return desired


def contents(desired: Desired) -> dict[str, str]:
    return {
        str(item.path): item.content.decode() for item in desired.items if isinstance(item, File)
    }


def test_a_hostname() -> None:
    assert contents(rendered(hosts, "hostname: web-1")) == {"/etc/hostname": "web-1\n"}
    fqdn = rendered(hosts, "fqdn: web-1.example.org")
    assert contents(fqdn) == {"/etc/hostname": "web-1\n"}
    whole = rendered(hosts, "fqdn: web-1.example.org\nprefer_fqdn_over_hostname: yes")
    assert contents(whole) == {"/etc/hostname": "web-1.example.org\n"}
    assert contents(rendered(hosts, "", Facts(hostname="i-1.cloud"))) == {"/etc/hostname": "i-1\n"}
    assert rendered(hosts, "") == Desired()


def test_hosts_files() -> None:
    text = contents(rendered(hosts, "fqdn: a.example.org\nmanage_etc_hosts: true"))["/etc/hosts"]
    assert "127.0.1.1 a.example.org a\n" in text
    text = contents(rendered(hosts, "hostname: a\nmanage_etc_hosts: localhost"))["/etc/hosts"]
    assert text.startswith("127.0.0.1 localhost a\n")
    assert "/etc/hosts" not in contents(rendered(hosts, "hostname: a\nmanage_etc_hosts: false"))


def test_users_and_groups() -> None:
    found = contents(
        rendered(
            users,
            "groups: [data, {adm: [web]}]\n"
            "users:\n- default\n- {name: web, gecos: Web, groups: data}\n- {name: db, uid: 800}\n",
        )
    )
    passwd = [line.split(":") for line in found["/etc/passwd"].splitlines()]
    group = {line.split(":")[0]: line.split(":") for line in found["/etc/group"].splitlines()}
    assert found["/etc/passwd"].startswith(FACTS.passwd)
    web, db = passwd[2:]
    assert (web[0], web[1], web[4], web[6]) == ("web", "*", "Web", "/usr/sbin/nologin")
    assert web[2] == web[3] == group["web"][2]
    assert db[2] == db[3] == group["db"][2] == "800"
    assert group["data"][3] == "web"
    assert group["adm"] == ["adm", "x", "4", "web"]


def test_an_account_without_a_group_of_its_own_is_in_nogroup() -> None:
    for facts in (FACTS, Facts()):
        found = contents(rendered(users, "users: [{name: web, no_user_group: true}]", facts))
        assert found["/etc/passwd"].splitlines()[-1].split(":")[3] == "65534"


def test_a_users_number_follows_from_its_name_alone() -> None:
    alone = contents(rendered(users, "users: [{name: web}]"))["/etc/passwd"].splitlines()[-1]
    text = "users: [{name: a}, {name: b}, {name: web}]"
    assert contents(rendered(users, text))["/etc/passwd"].splitlines()[-1] == alone


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("users: [{name: root}]", "the image has a user of that name"),
        ("users: [{name: web, uid: 65534}]", "not a whole number from 1 to 59999"),
        ("users: [{name: web, primary_group: www}]", "there is no group www"),
        ("users: [{name: web}, {name: web}]", "twice"),
    ],
)
def test_accounts_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(Exception, match=words):
        rendered(users, text)


def test_keys_of_the_developer_extension() -> None:
    found = rendered(users, "ssh_authorized_keys: [ssh-ed25519 AAAA me]")
    (item,) = found.items
    assert isinstance(item, File)
    assert (str(item.path), item.mode) == ("/etc/ssh/authorized_keys.d/root", 0o600)
    assert item.content == b"ssh-ed25519 AAAA me\n"


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("text/plain", "hello"),
        *((name, base64.b64encode(b"hello").decode()) for name in ("b64", "base64")),
        *(
            (name, base64.b64encode(gzip.compress(b"hello", mtime=0)).decode())
            for name in ("gzip+base64", "gz+base64", "gzip+b64", "gz+b64")
        ),
    ],
)
def test_every_encoding(encoding: str, content: str) -> None:
    text = f"write_files: [{{path: /etc/x, encoding: {encoding}, content: '{content}'}}]"
    assert contents(rendered(files, text)) == {"/etc/x": "hello"}


def test_all_that_is_appended_counts() -> None:
    text = "write_files: [{path: /etc/x, append: true, content: %s}, {path: /etc/y, content: c}]"
    found = rendered(files, text % "a") + rendered(files, text % "b")
    assert [item.content for item in found.items if isinstance(item, File)] == [b"a", b"c", b"b"]
    whole = Desired(items=(File(PurePosixPath("/etc/x"), b"d"),))
    assert len((Desired(items=found.items[:1]) + whole).items) == 2


@pytest.mark.parametrize("encoding", ["b64", "gz+b64", "gz"])
def test_content_that_is_not_what_its_encoding_says(encoding: str) -> None:
    text = f"write_files: [{{path: /etc/x, encoding: {encoding}, content: 'a=b'}}]"
    with pytest.raises(DocumentError, match=r"x\.yaml:2:.*/etc/x: the content is not"):
        rendered(files, text)


def test_owner_permissions_and_order() -> None:
    found = rendered(
        files,
        "write_files:\n"
        "- {path: /etc/late, defer: true}\n"
        "- {path: /etc/a, owner: web, permissions: 0640}\n"
        f"- {{path: /etc/b, source: {{uri: https://x.invalid/b, sha256: '{SHA}'}}}}\n",
    )
    first, second, third = found.items
    assert isinstance(first, File)
    assert (first.owner, first.group, first.mode, first.secret) == ("web", "web", 0o640, True)
    assert isinstance(second, Fetched)
    assert str(third.path) == "/etc/late"


def test_units() -> None:
    found = rendered(
        units,
        "coreos:\n  units:\n"
        "  - name: web.service\n    enable: true\n    command: start\n"
        '    content: "[Service]\\nExecStart=/x\\n[Install]\\nWantedBy=multi-user.target"\n'
        '    drop-ins: [{name: 10-x.conf, content: "[Service]\\nNice=1"}]\n'
        "  - {name: podman.socket, enable: true}\n"
        "  - {name: sys-x.mount, mask: true}\n",
    )
    folder = "/etc/systemd/system"
    assert contents(found)[f"{folder}/web.service"].endswith("WantedBy=multi-user.target\n")
    assert contents(found)[f"{folder}/web.service.d/10-x.conf"] == "[Service]\nNice=1\n"
    links = {str(item.path): item.target for item in found.items if isinstance(item, Link)}
    assert links == {
        f"{folder}/multi-user.target.wants/web.service": "../web.service",
        f"{folder}/sockets.target.wants/podman.socket": "../podman.socket",
        f"{folder}/sys-x.mount": "/dev/null",
    }
    assert found.commands == (Command("web.service", UnitCommand.START),)
    assert all(item.affects for item in found.items if isinstance(item, File))


def test_templates_are_enabled_as_their_default_instance() -> None:
    content = "[Install]\\nDefaultInstance=one\\nWantedBy=multi-user.target"
    found = rendered(
        units, f'coreos: {{units: [{{name: a@.service, enable: true, content: "{content}"}}]}}'
    )
    assert str(found.items[1].path).endswith("wants/a@one.service")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a.service", "Alias=../../passwd"),
        ("a.service", "WantedBy=../x.target"),
        ("a@.service", "DefaultInstance=../../x"),
    ],
)
def test_links_stay_in_their_folder(name: str, word: str) -> None:
    text = f'coreos: {{units: [{{name: {name}, enable: true, content: "[Install]\\n{word}"}}]}}'
    with pytest.raises(DocumentError, match="which is no unit"):
        rendered(units, text)


def test_enable_without_an_install_section() -> None:
    with pytest.raises(DocumentError, match=r"WantedBy=multi-user\.target"):
        rendered(units, 'coreos: {units: [{name: a.service, enable: true, content: "[Unit]"}]}')


def test_an_extension_is_fetched_and_merged() -> None:
    text = f"bedplate: {{extensions: [{{name: x, url: https://x.invalid/x, sha256: '{SHA}'}}]}}"
    (item,) = rendered(extensions, text).items
    assert isinstance(item, Fetched)
    assert item.path == PurePosixPath("/var/lib/extensions/x.raw")
    assert Affects("systemd-sysext.service", item.affects[0].reaction) in item.affects
