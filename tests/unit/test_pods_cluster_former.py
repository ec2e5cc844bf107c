"""Manifests that are not in force any more, over a restart of the agent; and the settings."""

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from hostkit.etcd import Access
from hostkit.settings import SettingsError
from podagent.cluster.former import Former
from podagent.cluster.settings import Settings, load
from podagent.manifest import ManifestError
from podagent.places import Places

KEY = Path("/bedplate/pods/web")


def text(command: str) -> bytes:
    container = {"name": "main", "image": "a:1", "command": [command]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    return json.dumps(pod | {"spec": {"containers": [container]}}).encode()


def test_what_is_needed_outlives_the_agent(tmp_path: Path) -> None:
    folder = tmp_path / "former"
    former = Former(folder)
    old, new = former.parse(text("old"), KEY), former.parse(text("new"), KEY)
    former.keep({old.digest, "unknown"}, {new.digest})
    assert former.get(new.digest) == new
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    again = Former(folder)
    assert again.get(old.digest) == old
    assert again.get(new.digest) is None
    again.keep((), ())
    assert again.get(old.digest) is None
    assert not list(folder.iterdir())


def test_what_nothing_needs_is_forgotten(tmp_path: Path) -> None:
    former = Former(tmp_path)
    old = former.parse(text("old"), KEY)
    former.keep((), ())
    assert former.get(old.digest) is None


def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("kind: Nothing")
    (tmp_path / "folder").mkdir()
    Former(tmp_path).keep((), ())
    with pytest.raises(ManifestError):
        Former(tmp_path).parse(b"kind: Nothing", KEY)


# --- Settings -------------------------------------------------------------------------------------


def settings(tmp_path: Path, value: object) -> Settings | None:
    path = tmp_path / "etc/bedplate/cluster.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return load(Places(tmp_path))


def test_a_host_may_be_in_no_cluster(tmp_path: Path) -> None:
    assert load(Places(tmp_path)) is None


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    assert settings(tmp_path, {}) == Settings(
        Access(("http://127.0.0.1:2379",)), IPv4Network("10.96.0.0/16")
    )


def test_every_key_is_heard(tmp_path: Path) -> None:
    given = {
        "etcd_endpoints": "https://a:2379,https://b:2379",
        "etcd_cafile": "/etc/ca.pem",
        "etcd_certfile": "/etc/c.pem",
        "etcd_keyfile": "/etc/k.pem",
        "etcd_username": "u",
        "etcd_password": "pw",
        "services_range": "10.1.0.0/20",
    }
    root = tmp_path
    access = Access(
        ("https://a:2379", "https://b:2379"),
        root / "etc/ca.pem",
        root / "etc/c.pem",
        root / "etc/k.pem",
        "u",
        "pw",
    )
    assert settings(tmp_path, given) == Settings(access, IPv4Network("10.1.0.0/20"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("services_range", "10.1.0.1/20"), ("services_range", 5), ("etcd_endpoints", "a"), ("x", 1)],
)
def test_a_wrong_value_is_told_with_file_and_key(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"cluster\.json: .*{key}"):
        settings(tmp_path, {key: value})
