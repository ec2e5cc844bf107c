"""Registries: mirrors in TOML, credentials out of sight."""

import base64
import json
import tomllib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Bedplate, Registry
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import registry
from hostkit.document.source import DocumentError

REGISTRIES = PurePosixPath("/etc/containers/registries.conf.d/50-bedplate.conf")
CREDENTIALS = PurePosixPath("/run/containers/0/auth.json")


def rendered(body: str) -> Desired:
    text = f"#cloud-config\nbedplate:\n  registries: {body}\n"
    return registry.render(read_document(text.encode(), Path("c.yaml")).config, Facts())


def test_mirrors_are_asked_first() -> None:
    desired = rendered(
        "{images.example: {mirrors: ['cache.example:5000/hub', cache.example]},"
        " 'cache.example:5000': {insecure: true}}"
    )
    content = (
        b"[[registry]]\n"
        b'prefix = "images.example"\n'
        b'location = "images.example"\n'
        b"\n"
        b"[[registry.mirror]]\n"
        b'location = "cache.example:5000/hub"\n'
        b"insecure = true\n"
        b"\n"
        b"[[registry.mirror]]\n"
        b'location = "cache.example"\n'
        b"\n"
        b"[[registry]]\n"
        b'prefix = "cache.example:5000"\n'
        b'location = "cache.example:5000"\n'
        b"insecure = true\n"
    )
    assert desired == Desired(items=(File(REGISTRIES, content),))


def test_the_entry_that_says_most_speaks_for_a_mirror() -> None:
    desired = rendered(
        "{a.example: {mirrors: [b.example/x/y]}, b.example: {insecure: true}, b.example/x: {}}"
    )
    (file,) = desired.items
    assert isinstance(file, File)
    first = tomllib.loads(file.content.decode())["registry"][0]
    assert first["mirror"] == [{"location": "b.example/x/y"}]


def test_credentials_are_for_root_alone() -> None:
    desired = rendered("{r.example/team: {username: me, password: 'p:w'}}")
    (file,) = desired.items
    assert isinstance(file, File)
    assert (file.path, file.mode, file.secret) == (CREDENTIALS, 0o600, True)
    word = base64.b64encode(b"me:p:w").decode()
    assert json.loads(file.content) == {"auths": {"r.example/team": {"auth": word}}}
    assert word not in repr(desired)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("{r.example: {username: me}}", "username and password belong together"),
        ("{r.example: {username: 'a:b', password: c}}", "a colon in username"),
        ("{'r.example\"': {}}", "is no key here"),
        ("{'https://r.example': {}}", "is no key here"),
        ("{r.example: {mirrors: ['https://m.example']}}", "is not host"),
    ],
)
def test_what_cannot_be_a_registry_is_refused(body: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        rendered(body)


# Few, so that one is a mirror here and a registry there; a pattern would be slow to draw from.
NAMES = st.sampled_from(["a.example", "a.example:5000", "a.example/b", "a.example/b/c-d_e", "b"])


@given(
    st.dictionaries(
        NAMES, st.builds(Registry, mirrors=st.lists(NAMES).map(tuple), insecure=st.booleans())
    )
)
def test_what_is_written_is_what_was_meant(registries: dict[str, Registry]) -> None:
    config = CloudConfig(bedplate=Bedplate(registries=registries))
    told = {name for name, each in registries.items() if each.mirrors or each.insecure}
    files = registry.render(config, Facts()).items
    assert len(files) == bool(told)
    for file in files:
        assert isinstance(file, File)
        tables = tomllib.loads(file.content.decode())["registry"]
        assert {table["prefix"] for table in tables} == told
        for table in tables:
            wanted = registries[table["prefix"]]
            assert table.get("insecure", False) == wanted.insecure
            assert tuple(each["location"] for each in table.get("mirror", ())) == wanted.mirrors
