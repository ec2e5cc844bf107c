"""Where a fleet's etcd is: from options, from a file, or from neither."""

from pathlib import Path

import pytest

from builder.fleet.access import (
    DEFAULT_FILE,
    FILE_VARIABLE,
    PASSWORD_VARIABLE,
    Given,
    find,
)
from updater.errors import InputError

FILE = """\
endpoints: [https://etcd-1.example.org:2379, "https://10.0.0.2:2379"]
ca_file: ca.crt
cert_file: me.crt
key_file: me.key
username: ops
password_file: password
prefix: /our/network
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with a fleet.yaml and what it names."""
    for name in ("ca.crt", "me.crt", "me.key"):
        (tmp_path / name).touch()
    (tmp_path / "password").write_text("of the file\nsecond line\n")
    (tmp_path / "fleet.yaml").write_text(FILE)
    return tmp_path


def home_with(site: Path, home: Path) -> Path:
    default = home / DEFAULT_FILE
    default.parent.mkdir(parents=True)
    default.symlink_to(site / "fleet.yaml")
    return home


def test_a_file_says_all_of_it(site: Path) -> None:
    found = find(Given(fleet=site / "fleet.yaml"), {}, site)
    assert found.access.endpoints == ("https://etcd-1.example.org:2379", "https://10.0.0.2:2379")
    assert found.access.ca == site / "ca.crt"
    assert (found.access.certificate, found.access.key) == (site / "me.crt", site / "me.key")
    assert (found.access.username, found.access.password) == ("ops", "of the file")
    assert found.prefix == "/our/network"
    assert "of the file" not in repr(found)


def test_the_file_is_named_by_the_environment_or_is_the_default(site: Path, tmp_path: Path) -> None:
    by_name = find(Given(), {FILE_VARIABLE: str(site / "fleet.yaml")}, tmp_path / "nobody")
    default = site / DEFAULT_FILE
    default.parent.mkdir(parents=True)
    default.write_text("endpoints: http://127.0.0.1:2379\n")
    assert by_name.access.username == "ops"
    assert find(Given(), {}, site).access.endpoints == ("http://127.0.0.1:2379",)


def test_an_option_takes_the_place_of_a_key(site: Path) -> None:
    given = Given(
        fleet=site / "fleet.yaml", endpoints="http://10.0.0.9:2379", username="me", prefix="/other"
    )
    found = find(given, {PASSWORD_VARIABLE: "of the environment"}, site)
    assert found.access.endpoints == ("http://10.0.0.9:2379",)
    assert (found.access.username, found.access.password) == ("me", "of the environment")
    assert found.access.ca == site / "ca.crt"
    assert found.prefix == "/other"


def test_a_file_that_is_not_named_tells_nothing_to_another_etcd(site: Path) -> None:
    environment = {FILE_VARIABLE: str(site / "fleet.yaml")}
    found = find(Given(endpoints="http://10.0.0.9:2379"), environment, site)
    assert found.access.username is None
    assert found.access.password is None
    assert found.prefix == "/coreos.com/network"


def test_a_password_file_that_is_given_goes_first(site: Path) -> None:
    (site / "other").write_text("of the option")
    given = Given(fleet=site / "fleet.yaml", password_file=site / "other")
    found = find(given, {PASSWORD_VARIABLE: "of the environment"}, site)
    assert found.access.password == "of the option"  # noqa: S105


def test_a_password_without_a_user_is_none(site: Path) -> None:
    found = find(Given(endpoints="http://a:1"), {PASSWORD_VARIABLE: "x"}, site)
    assert found.access.password is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Given(), "no etcd is named"),
        (Given(endpoints="10.0.0.1:2379"), "expected scheme, host and port"),
        (Given(endpoints="http://u:secret@10.0.0.1:2379"), "expected scheme, host and port"),
        (Given(endpoints="http://a:1", cert_file=Path("a")), "cert_file needs key_file"),
        (Given(endpoints="http://a:1", key_file=Path("a")), "key_file needs cert_file"),
        (Given(endpoints="http://a:1", ca_file=Path("/gone.crt")), "/gone.crt: no such file"),
        (Given(endpoints="http://a:1", username="me"), "no password for etcd's user me"),
        (Given(endpoints="http://a:1", prefix="coreos.com"), "--prefix coreos.com: expected"),
        (Given(fleet=Path("/gone.yaml")), "/gone.yaml: no such file"),
    ],
)
def test_what_is_wrong_is_said(given: Given, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as caught:
        find(given, {}, tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("endpoint: http://a:1\n", "fleet.yaml:1:1: unknown key 'endpoint'; did you mean"),
        ("ca_file: gone.crt\nendpoints: http://a:1\n", "fleet.yaml:1:10: no file 'gone.crt'"),
        ("username: me\n", "fleet.yaml:1:1: missing: endpoints"),
        ("endpoints: http://a:1\npassword: x\n", "unknown key 'password'"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_place(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "fleet.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        find(Given(fleet=tmp_path / "fleet.yaml"), {}, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\nsecond", b"\xff\xfe\n"])
def test_a_password_file_without_a_password_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(content)
    given = Given(endpoints="http://a:1", username="me", password_file=tmp_path / "password")
    with pytest.raises(InputError, match="password"):
        find(given, {}, tmp_path)
