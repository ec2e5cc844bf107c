import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.definition.load import load
from builder.definition.model import Definition
from builder.definition.reference import to_plain
from hostkit.document.schema import keys
from hostkit.document.source import DocumentError
from updater.errors import InputError
from updater.version import Version

MINIMAL = "name: host\nversion: 1\n"


def write(folder: Path, text: str, name: str = "host.yaml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def problems(file: Path, **overrides: str) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        load(file, overrides=overrides)
    return [str(problem).removeprefix(f"{file.parent}/") for problem in caught.value.problems]


def test_a_small_definition_has_defaults(tmp_path: Path) -> None:
    definition = load(write(tmp_path, MINIMAL))
    assert definition.name == "host"
    assert definition.version == Version((1,))
    assert definition.suite == "trixie"
    assert definition.disk.esp == 512 << 20
    assert definition.release.chunk == 128 << 10
    assert definition.packages == ()
    assert definition.update == {}


def test_every_problem_of_a_document_is_reported(tmp_path: Path) -> None:
    text = """\
name: Host
verzion: 1
packages:
  - systemd
  - Not A Package
  - systemd
disk:
  root: 1GB
  esp: 3
initrd:
  modules: virtio_blk
kernel:
  command_line: [quiet, "two words"]
architecture: x86_64
setuid: ~
variables:
  a: true
"""
    assert problems(write(tmp_path, text)) == [
        "host.yaml:1:7: 'Host' is not a name in lower case such as bedplate",
        "host.yaml:2:1: unknown key 'verzion'; did you mean 'version'?",
        "host.yaml:5:5: 'Not A Package' is not a Debian package such as systemd",
        "host.yaml:6:5: 'systemd' stands twice in this list",
        "host.yaml:8:9: the unit 'GB' is not known; did you mean 'GiB'?",
        "host.yaml:9:8: '3' is not a size such as 512MiB, a multiple of 1MiB",
        "host.yaml:11:12: found text; expected a list: a pattern of modules such as `virtio_*`",
        "host.yaml:13:25: 'two words' is not one kernel parameter without spaces",
        "host.yaml:14:15: 'x86_64' is not one of x86-64; did you mean 'x86-64'?",
        "host.yaml:15:9: found nothing; expected a list: a glob such as `usr/share/doc/**`",
        "host.yaml:17:6: found the boolean true; expected text",
    ]


def test_missing_keys_count_after_merging(tmp_path: Path) -> None:
    write(tmp_path, "packages: [systemd]\n", "base.yaml")
    assert problems(write(tmp_path, "name: host\nextends: base\n")) == [
        "host.yaml:1:1: missing: version"
    ]


def test_children_add_to_their_parents(tmp_path: Path) -> None:
    base = """\
name: base
version: 1
mirror: http://mirror.example.org/debian
packages: [systemd, podman]
variables: {colour: red, size: 3}
files:
  - {path: /usr/lib/a, content: base}
  - {path: /usr/lib/b, content: base}
units:
  wanted:
    multi-user.target: [a.service]
update: {channel: stable, jitter: 3}
"""
    child = """\
name: host
extends: base
mirror:
packages: [tcpdump, podman]
variables: {colour: 1.10}
files:
  - {path: /usr/lib/a, link: b}
units:
  wanted:
    multi-user.target: [b.service]
update: {strategy: off}
"""
    write(tmp_path, base, "base.yaml")
    definition = load(write(tmp_path, child))
    assert definition.name == "host"
    assert definition.version == Version((1,))
    assert definition.mirror is None
    assert definition.packages == ("systemd", "podman", "tcpdump")
    assert definition.variables == {"colour": "1.10", "size": "3"}
    assert [(str(file.path), file.link) for file in definition.files] == [
        ("/usr/lib/a", "b"),
        ("/usr/lib/b", None),
    ]
    assert definition.units.wanted == {"multi-user.target": ("a.service", "b.service")}
    assert definition.update == {"channel": "stable", "jitter": 3, "strategy": "off"}


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    for folder in ("base", "site"):
        (tmp_path / folder / "tree").mkdir(parents=True)
    write(tmp_path / "base", "trees: [tree]\n", "base.yaml")
    text = MINIMAL + "extends: ../base/base.yaml\ntrees: [tree]\n"
    definition = load(write(tmp_path / "site", text))
    assert [tree.resolve() for tree in definition.trees] == [
        tmp_path / "base/tree",
        tmp_path / "site/tree",
    ]


def test_missing_files_are_named_with_their_place(tmp_path: Path) -> None:
    text = MINIMAL + "trees: [gone]\nfiles:\n  - path: /usr/lib/x\n    source: x.conf\n"
    assert problems(write(tmp_path, text)) == [
        f"host.yaml:3:9: no folder 'gone' at {tmp_path}/gone",
        f"host.yaml:6:13: no file 'x.conf' at {tmp_path}/x.conf",
    ]
    name = "x" * 5000
    assert "no folder" in problems(write(tmp_path, MINIMAL + f"trees: [{name}]"))[0]


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("files: [{path: /a}]", "one of content, source, template and link is needed; found none"),
        ("files: [{path: /a, content: x, link: y}]", "found content and link"),
        ("files: [{content: x}]", "missing: path"),
        ("files: [{path: a, content: x}]", "'a' is not an absolute path in the image"),
        ("files: [{path: /../a, content: x}]", "is not an absolute path"),
        ("files: [{path: /a, content: x, mode: 0999}]", "'0999' is not permissions in octal"),
        ("variables: {image: x}", "the variable image is set by the builder"),
        ("kernel: {command_line: [roothash=0]}", "the build adds the root hash itself"),
        ("minimum_version: 2", "minimum_version 2 is above version 1"),
        ("units: {wanted: {a.target: [b.service]}, masked: [b.service]}", "both wanted and masked"),
        ("prune: [usr/../etc]", "is not a glob"),
        ("python: {programs: {x: os.system}}", "is not an entry point"),
        ("variables: {1a: x}", "'1a' is no key here"),
        ("release: {chunk: 5000}", "a multiple of 4KiB"),
        ("release: {chunk: 0}", "is not a size"),
        ("update: {strategy: sometimes}", "host.yaml:3:9: update: strategy: expected one of off"),
        ("update: {strategy: window}", "needs the key window"),
        ("update: {sever: x}", "unknown key 'sever'"),
        ("update: {interval: true}", "interval: expected seconds"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, extra: str, words: str) -> None:
    assert words in "\n".join(problems(write(tmp_path, MINIMAL + extra + "\n")))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: gone", "host.yaml:1:10: extends 'gone', but there is no"),
        ("extends: host", "which extends this one in turn"),
        ("extends: ./host.yaml", "which extends this one in turn"),
        (f"extends: {'x' * 999}", "but there is no"),
        ("extends: [host]", "found a list"),
        ("- a", "found a list; expected a mapping"),
        ("text", "found text; expected a mapping"),
    ],
)
def test_families_that_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    assert words in problems(write(tmp_path, text))[0]


def test_a_cycle_over_two_files(tmp_path: Path) -> None:
    write(tmp_path, "extends: host", "base.yaml")
    (found,) = problems(write(tmp_path, "extends: base"))
    assert found.startswith("base.yaml:1:10: extends")


def test_a_problem_of_a_parent_names_the_parent(tmp_path: Path) -> None:
    write(tmp_path, "packages: [UP]", "base.yaml")
    assert problems(write(tmp_path, MINIMAL + "extends: base\ndisks: {}\n")) == [
        "base.yaml:1:12: 'UP' is not a Debian package such as systemd",
        "host.yaml:4:1: unknown key 'disks'; did you mean 'disk'?",
    ]


def test_overrides_come_last(tmp_path: Path) -> None:
    file = write(tmp_path, MINIMAL + "packages: [systemd]\nupdate: {interval: 1}\n")
    overrides = {
        "version": "2.10",
        "packages": "[tcpdump]",
        "variables.answer": "no",
        "update.interval": "30",
        "disk.root": "2GiB",
    }
    definition = load(file, overrides=overrides)
    assert str(definition.version) == "2.10"
    assert definition.packages == ("systemd", "tcpdump")
    assert definition.variables == {"answer": "no"}
    assert definition.update == {"interval": 30}
    assert definition.disk.root == 2 << 30


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("verzion", "2", "override verzion:1:1: unknown key 'verzion'; did you mean 'version'?"),
        ("disk.rot", "2", "did you mean 'root'?"),
        ("version.x", "2", "unknown key 'x'"),
        ("version", "two", "override version:1:1: 'two' is not a version"),
        ("packages", "[a", "override packages"),
        ("packages", "a", "found text; expected a list"),
        ("update", "", "the file is empty"),
        ("", "", "unknown key ''"),
    ],
)
def test_overrides_that_are_wrong(tmp_path: Path, name: str, value: str, words: str) -> None:
    assert words in problems(write(tmp_path, MINIMAL), **{name: value})[0]


def test_what_is_shown_loads_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    write(tmp_path, "hello", "x.j2")
    text = """\
mirror: http://mirror.example.org/debian
trees: [tree]
files:
  - {path: /usr/bin/x, template: x.j2, mode: 0755}
  - {path: /usr/bin/y, content: "a\\n", mode: "4755"}
budgets: {root: 300MiB, wire: 12345}
minimum_version: 0.5
update: {strategy: window, window: {start: 13:30, length: 2h, days: [sat, sun]}, interval: 600}
python: {programs: {bedplate-update: "updater.cli:main"}}
"""
    definition = load(write(tmp_path, MINIMAL + text))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shown = yaml.safe_dump(to_plain(definition))
    assert load(write(elsewhere, shown)) == definition
    as_json = json.dumps(to_plain(definition))
    assert load(write(elsewhere, as_json)) == definition


def test_no_such_file() -> None:
    with pytest.raises(InputError, match="no such file"):
        load(Path("/nonexistent/host.yaml"))


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1", "512MiB", "systemd", "/a", "host", "x86-64", "a.service", "0644"])
)
names = st.sampled_from([*keys(Definition), "path", "content", "link", "mode", "esp"]) | st.text(
    max_size=8
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=30,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(names, trees, max_size=8) | trees, st.dictionaries(names, st.text()))
def test_any_tree_is_a_definition_or_an_error(
    tmp_path: Path, tree: object, overrides: dict[str, str]
) -> None:
    file = tmp_path / "host.yaml"
    both = {"name": "host", "version": 1} | tree if isinstance(tree, dict) else tree
    for text in (MINIMAL, yaml.safe_dump(tree), yaml.safe_dump(both, allow_unicode=True)):
        file.write_text(text, errors="replace")
        try:
            definition = load(file, overrides=overrides)
        except InputError as error:
            assert str(error)  # noqa: PT017 (an error is as good as a definition)
        else:
            assert isinstance(definition, Definition)
