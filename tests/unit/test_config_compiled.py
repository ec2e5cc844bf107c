"""A compiled document is what was rendered, whatever it asks for; and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloudconfig import compiled
from cloudconfig.compiled import Compiled
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.places import Places
from cloudconfig.rendering import render_all
from cloudconfig.store import Input

DOCUMENT = b"""\
#cloud-config
hostname: web-1
users: [{name: web}]
write_files:
  - {path: /etc/a, content: a, permissions: 0600, append: true}
  - {path: /etc/b, source: {uri: https://x.invalid/b, sha256: "%s", headers: {A: b}}}
disk_setup: {/dev/vdb: {layout: [50, [50, 82]]}}
fs_setup: [{device: /dev/vdb1, label: data}]
mounts: [[LABEL=data, /var/data]]
swap: {filename: /var/swap, size: 64M}
timezone: Europe/Berlin
final_message: done
coreos: {units: [{name: a.service, command: start, content: "[Service]"}]}
""" % (b"0" * 64)
GIVEN = Input(DOCUMENT, Path("x"), "credential", variables={"private_ipv4": "192.0.2.1"})


def made() -> Compiled:
    document = read_document(DOCUMENT, Path("x"))
    desired = render_all(document.config, Facts(passwd="", group="", memory=1 << 30))
    return Compiled(desired, ("web",), {"http": "http://192.0.2.1"}, ("a warning",))


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    compiled.save("k", made(), Places(tmp_path))
    assert compiled.load("k", Places(tmp_path)) == made()
    assert made().desired.partitions
    assert made().desired.swap


def test_it_is_for_root_alone(tmp_path: Path) -> None:
    compiled.save("k", made(), Places(tmp_path))
    for path in tmp_path.rglob("*.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_another_key_a_torn_file_and_none_are_nothing(tmp_path: Path) -> None:
    places = Places(tmp_path)
    assert compiled.load("k", places) is None
    compiled.save("k", made(), places)
    assert compiled.load("other", places) is None
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert compiled.load("k", places) is None
    path.write_bytes(b'{"key": "k"}')
    assert compiled.load("k", places) is None


@pytest.mark.parametrize("once", ["power_state: {mode: reboot}", "phone_home: {url: http://x/}"])
def test_what_comes_once_is_not_kept(once: str, tmp_path: Path) -> None:
    document = read_document(f"#cloud-config\n{once}".encode(), Path("x"))
    compiled.save("k", Compiled(render_all(document.config, Facts())), Places(tmp_path))
    assert compiled.load("k", Places(tmp_path)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"document": b"#cloud-config\n"},
        {"instance_id": "other"},
        {"hostname": "other"},
        {"public_keys": ("other",)},
        {"network": b"version: 2"},
        {"variables": {}},
        {"source": "other"},
    ],
)
def test_all_that_was_given_is_in_the_key(change: dict[str, object]) -> None:
    assert compiled.key(replace(GIVEN, **change)) != compiled.key(GIVEN)  # type: ignore[arg-type] # by name
    assert compiled.key(GIVEN, "release") != compiled.key(GIVEN)
