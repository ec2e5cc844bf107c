"""Registries: mirrors in TOML, credentials out of sight, whose signatures count."""

import base64
import json
import textwrap
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Bedplate, Registry
from cloudconfig.model.policy import policy_problem
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


ANY: dict[str, object] = {"type": "insecureAcceptAnything"}
SIGNED = {"type": "sigstoreSigned", "keyData": "cHVibGljCg=="}


def with_policy(text: str, more: str = "") -> dict[str, bytes]:
    """The files that a policy becomes."""
    indented = textwrap.indent(text, "    ")
    document = f"#cloud-config\n{more}bedplate:\n  signature-policy: |\n{indented}\n"
    config = read_document(document.encode(), Path("c.yaml")).config
    found = {}
    for item in registry.render(config, Facts()).items:
        assert isinstance(item, File)
        assert (item.mode, item.secret) == (0o644, False)
        found[str(item.path)] = item.content
    return found


def test_a_policy_is_podmans() -> None:
    text = json.dumps({"default": [{"type": "reject"}], "transports": {"docker": {"a.b": [ANY]}}})
    assert with_policy(text) == {"/etc/containers/policy.json": f"{text}\n".encode()}


def test_signatures_that_are_demanded_are_looked_for() -> None:
    text = json.dumps({"default": [ANY], "transports": {"docker": {"r.example": [SIGNED]}}})
    found = with_policy(text)
    beside = found.pop("/etc/containers/registries.d/50-bedplate.yaml")
    assert yaml.safe_load(beside) == {"default-docker": {"use-sigstore-attachments": True}}
    assert list(found) == ["/etc/containers/policy.json"]
    # There may be only one file of such a default.
    own = "write_files: [{path: /etc/containers/registries.d/mine.yaml, content: ''}]\n"
    assert with_policy(text, own) == found


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("{", "no valid JSON: "),
        ('{"default": [], "default": []}', "no valid JSON: key 'default' is given twice"),
        ("[]", "no default"),
        ({"transports": {}}, "no default"),
        ({"default": []}, "default is no list of one requirement or more"),
        ({"default": ANY}, "default is no list of one requirement or more"),
        ({"default": [ANY], "x": 1}, "unknown key 'x'; known are default, transports"),
        ({"default": [{"type": "any"}]}, "default: a requirement's type is one of insecureAccept"),
        ({"default": ["reject"]}, "default: a requirement's type is one of insecureAcceptAnything"),
        ({"default": [{"type": ["reject"]}]}, "default: a requirement's type is one of insecure"),
        ({"default": [{"type": "signedBy"}]}, "default: signedBy needs gpg, which a host has not"),
        ({"default": [ANY], "transports": []}, "transports is no list of one requirement"),
        ({"default": [ANY], "transports": {"docker": 1}}, "transports.docker is no list of one"),
        (
            {"default": [ANY], "transports": {"docker": {"a.b": []}}},
            "transports.docker.a.b is no list of one requirement or more",
        ),
    ],
)
def test_what_is_no_policy_is_refused_in_its_place(policy: object, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        with_policy(policy if isinstance(policy, str) else json.dumps(policy))
    assert str(caught.value).startswith(f"c.yaml:3:21: {message}")
    assert "expected a policy in JSON" in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["reject", "default", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["default", "transports", "type", "docker"]), inner)
    ),
)


@given(VALUES)
def test_whatever_json_comes_is_a_policy_or_a_problem(value: object) -> None:
    wrong = policy_problem(json.dumps(value))
    assert wrong or (isinstance(value, dict) and value["default"])
