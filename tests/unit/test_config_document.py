import gzip
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.document import LIMITS, Document, read_document
from cloudconfig.model.bedplate import Strategy
from cloudconfig.model.coreos import RebootStrategy
from cloudconfig.model.top import SCHEMA, CloudConfig
from cloudconfig.variables import NAMES, substitute
from config_oracle import FILE, outcome
from config_strategies import documents
from hostkit.document.reference import walk
from hostkit.document.schema import Kind, Section, keys
from hostkit.document.source import DocumentError
from updater import programs


def read(text: str) -> CloudConfig:
    return read_document(text.encode(), FILE).config


def problems(data: str | bytes) -> list[str]:
    raw = data.encode() if isinstance(data, str) else data
    found = outcome(raw)
    assert isinstance(found, DocumentError), f"{data!r} was taken"
    return [str(problem).removeprefix(f"{FILE}:") for problem in found.problems]


@pytest.mark.parametrize(
    "data",
    [
        b"#cloud-config\nhostname: a\n",
        b"#cloud-config \t\nhostname: a\n",
        b"#cloud-config\r\nhostname: a\r\n",
        b"\xef\xbb\xbf#cloud-config\nhostname: a\n",
        b"#cloud-config\n---\nhostname: a\n",
        b"#cloud-config\n# yaml-language-server: $schema=x.json\n\nhostname: a",
        gzip.compress(b"#cloud-config\nhostname: a\n", mtime=0),
    ],
)
def test_the_header_is_known_in_all_its_forms(data: bytes) -> None:
    assert read_document(data, FILE).config.hostname == "a"


@pytest.mark.parametrize(
    "text",
    ["#cloud-config", "#cloud-config\n", "#cloud-config\n---\n# nothing\n", "#cloud-config\n{}"],
)
def test_a_document_may_say_nothing(text: str) -> None:
    assert read(text) == CloudConfig()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "the first line is not #cloud-config"),
        (" #cloud-config\na: b", "the first line is not #cloud-config"),
        ("\n#cloud-config\na: b", "the first line is not #cloud-config"),
        ("#cloud-configs\na: b", "the first line is not #cloud-config"),
        ("hostname: a", "the first line is not #cloud-config"),
        ("#!/bin/bash\necho", "there is no shell here; write a unit (coreos.units) or a pod"),
        ("#!", "there is no shell here"),
        ("#cloud-boothook\nx", "there is no shell here"),
        ("#include\nhttps://a", "write_files.source"),
        ("#include-once\nhttps://a", "write_files.source"),
        ("#cloud-config-archive\n- a", "an archive"),
        ("## template: jinja\n#cloud-config\n", "a cloud-init template"),
        ("Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n", "several documents"),
        ("MIME-Version: 1.0\nContent-Type: multipart/mixed", "several documents"),
        (
            '{"ignition": {"version": "3.3.0"}}',
            "its files in write_files, its units in coreos.units",
        ),
        (b"\x1f\x8bnothing", "compressed with gzip, but broken"),
        (gzip.compress(b"#cloud-config\n", mtime=0)[:-9], "compressed with gzip, but cut short"),
        (gzip.compress(b"#!/bin/sh\n", mtime=0), "there is no shell here"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_no_cloud_config_is_told_apart(data: str | bytes, words: str) -> None:
    (problem,) = problems(data)
    assert problem.startswith("1:1: ")
    assert words in problem


def test_every_boolean_word_of_yaml_1_1_survives_as_text_or_is_one() -> None:
    config = read(
        "#cloud-config\n"
        "coreos:\n"
        "  update: {reboot-strategy: off}\n"
        "  locksmith: {window-start: 14:00, window-length: 1h, group: no}\n"
        "  flannel: {ip_masq: yes}\n"
        "bedplate: {update: {strategy: off}, sysctl: {net.ipv4.ip_forward: 1, a.b: true}}\n"
        "write_files:\n"
        "  - {path: /etc/a, permissions: 0744}\n"
        "  - {path: /etc/b, permissions: 744}\n"
        "  - {path: /etc/c, permissions: '0644', content: 0x1F}\n"
    )
    assert config.coreos.update
    assert config.coreos.update.reboot_strategy is RebootStrategy.OFF
    assert config.coreos.locksmith
    assert config.coreos.locksmith.window_start == "14:00"
    assert config.coreos.locksmith.group == "no"
    assert config.coreos.flannel
    assert config.coreos.flannel.ip_masq is True
    assert config.bedplate.update
    assert config.bedplate.update.strategy is Strategy.OFF
    assert config.bedplate.sysctl == {"net.ipv4.ip_forward": "1", "a.b": "true"}
    assert [file.permissions for file in config.write_files] == [0o744, 0o744, 0o644]
    assert config.write_files[2].content == "0x1F"


MANY_ERRORS = """\
#cloud-config
hostnam: a
write-files:
  - path: /usr/bin/x
    contents: y
  - content: z
coreos:
  units:
    - name: web
      command: begin
    - name: a.service
      enable: maybe
    - name: b.service
    - name: b.service
runcmd: [ls]
bedplate: []
"""
THEIR_PLACES = """\
2:1: unknown key 'hostnam'; did you mean 'hostname'?
4:11: '/usr/bin/x' is not an absolute path below
5:5: unknown key 'contents'; did you mean 'content'?
6:5: missing: path
9:13: 'web' is not a systemd unit's name such as web.service
10:16: 'begin' is not one of start, stop, restart,
12:15: 'maybe' is not true or false
14:7: 'b.service' stands twice in this list
15:1: 'runcmd' is not supported: there is no shell: write a unit (coreos.units)
16:11: found a list; expected a mapping
"""


def test_all_errors_are_told_at_once_in_order() -> None:
    for problem, expected in zip(problems(MANY_ERRORS), THEIR_PLACES.splitlines(), strict=True):
        assert problem.startswith(expected)


# What is right by itself, and wrong beside something else or in what it holds.
WRONG_TOGETHER = """\
#cloud-config
hostname: a
hostname: b
users:
  - {name: web}
  - default
  - {name: web}
write_files:
  - {path: /etc/a, encoding: b64, content: "%"}
  - {path: /etc/b, encoding: gzip+b64, content: AAAA}
  - {path: /etc/c}
  - {path: /etc/c}
  - {path: /etc/c/d}
  - {path: /var/lib/bedplate/state.json}
  - {path: /var/lib}
  - {path: /etc/machine-id}
  - {path: /etc/c, append: true}
  - {path: /etc/e, append: true}
  - {path: /etc/e}
coreos:
  units:
    - {name: a.service, enable: true, content: "[Unit]"}
    - {name: b@.service, enable: true, content: "[Install]\\nWantedBy=multi-user.target"}
bedplate:
  pods:
    - name: a
      manifest: "kind: Foo"
"""
WHERE_TOGETHER = """\
3:1: the key 'hostname' stands twice, first in line 2
7:12: 'web' stands twice in this list
9:44: /etc/a: the content is not b64
10:49: /etc/b: the content is not gzip+b64
11:12: /etc/c is a folder of other files in this list
12:12: '/etc/c' stands twice in this list
12:12: /etc/c is a folder of other files in this list
14:12: /var/lib/bedplate/state.json would cover /var/lib/bedplate, the host's own
15:12: /var/lib would cover /var/lib/bedplate, the host's own
16:12: /etc/machine-id is the host's own
17:12: /etc/c is a folder of other files in this list
19:12: '/etc/e' stands twice in this list
22:33: a.service: enable, but its [Install] section names no unit
23:34: b@.service: a template without DefaultInstance=; enable b@NAME.service
27:17: a: manifest:1:1: a manifest declares
27:17: a: manifest:1:7: kind: 'Foo' is not supported
"""


def test_what_is_wrong_together_is_told_at_once_too() -> None:
    found = problems(WRONG_TOGETHER)
    for problem, expected in zip(found, WHERE_TOGETHER.splitlines(), strict=True):
        assert problem.startswith(expected)


def test_sections_that_say_otherwise_are_told_at_once() -> None:
    found = problems(
        "#cloud-config\n"
        "disk_setup: {/dev/vdb: {layout: [50, 50]}}\n"
        "fs_setup:\n"
        "  - {device: /dev/vdb}\n"
        "  - {device: /dev/vdb, partition: 3}\n"
        "coreos: {update: {group: beta, reboot_strategy: etcd-lock}}\n"
        "bedplate:\n"
        "  update: {channel: stable}\n"
        "  cluster: {}\n"
    )
    for problem, expected in zip(
        found,
        (
            "4:5: /dev/vdb is divided by disk_setup",
            "5:35: /dev/vdb has no partition 3",
            "6:26: coreos.update.group and bedplate.update.channel contradict each other",
            "6:49: the strategy etcd-lock needs etcd",
            "9:3: bedplate.cluster without endpoints",
        ),
        strict=True,
    ):
        assert problem.startswith(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "users: [{name: a, no-create-home: false}]",
            "2:35: a: no_create_home: false does nothing",
        ),
        ("users: [{name: a, system: no}]", "2:27: a: system: false does nothing"),
        ("users: [{name: a, no_log_init: off}]", "2:32: a: no_log_init: false does nothing"),
        (
            "coreos: {units: [{name: a.service, runtime: true}]}",
            "2:36: 'runtime' does nothing here",
        ),
        ("power_state: {mode: halt}", "2:21: halt: the machine is powered off"),
        (
            "{hostname: a, prefer_fqdn_over_hostname: true}",
            "2:42: prefer_fqdn_over_hostname does nothing beside hostname alone",
        ),
    ],
)
def test_what_does_nothing_is_warned_of(text: str, words: str) -> None:
    found = outcome(f"#cloud-config\n{text}\n".encode())
    assert isinstance(found, Document), str(found)
    (warning,) = found.warnings
    assert f"{warning.place.line}:{warning.place.column}: {warning.message}".startswith(words)


def test_a_key_that_does_not_work_is_offered_to_no_other() -> None:
    assert problems("#cloud-config\napt_mirrors: {}\npackges: []\n") == [
        "2:1: unknown key 'apt_mirrors'; did you mean 'apt_mirror'?",
        "3:1: unknown key 'packges'; did you mean 'packages'?",
    ]
    assert problems("#cloud-config\nyum_packages: {}\n") == ["2:1: unknown key 'yum_packages'"]


def test_a_misspelt_key_is_not_missing_too() -> None:
    assert problems("#cloud-config\nusers: [{namee: a}]") == [
        "2:10: unknown key 'namee'; did you mean 'name'?"
    ]
    assert len(problems("#cloud-config\nusers: [{shell: a, uid: b}]")) == 2


def test_a_wrong_document_is_warned_of_too() -> None:
    found = outcome(b"#cloud-config\ngrowpart: {}\nhostname: a b\n")
    assert isinstance(found, DocumentError)
    assert len(found.problems) == 1
    assert [problem.place.line for problem in found.warnings] == [2]


def test_a_key_has_one_spelling_at_a_time() -> None:
    text = "#cloud-config\nwrite_files: []\nwrite-files: []\n"
    assert problems(text) == ["3:1: the key 'write_files' stands twice"]


def test_equal_items_both_count() -> None:
    config = read(
        "#cloud-config\nwrite_files:\n"
        "  - &a {path: /etc/a, content: b, append: true}\n"
        "  - *a\n"
        "  - {path: /etc/a, content: c, append: true}\n"
    )
    assert [file.content for file in config.write_files] == ["b", "b", "c"]


def test_nothing_may_stand_where_nothing_need_be_said() -> None:
    text = "#cloud-config\nhostname:\nusers: ~\nwrite_files:\ncoreos:\n  units:\nbedplate: null\n"
    assert read(text) == CloudConfig()
    assert problems("#cloud-config\nusers: [{name: }]") == [
        "2:16: no value; expected a user's or group's name such as web"
    ]


def test_variables_are_put_in_anywhere_but_behind_a_backslash() -> None:
    variables = {"private_ipv4": "10.0.0.2", "public_ipv6": "2001:db8::1"}
    text = (
        "#cloud-config\n"
        "hostname: n-$private_ipv4\n"
        "coreos: {flannel: {public_ip: $public_ipv6, interface: \\$private_ipv4}}\n"
        "final_message: <$public_ipv4|$private_ipv4:80|$private_ipv45|$uptime\n"
    )
    config = read_document(text.encode(), FILE, variables).config
    assert config.hostname == "n-10.0.0.2"
    assert config.coreos.flannel
    assert config.coreos.flannel.public_ip == "2001:db8::1"
    assert config.coreos.flannel.interface == "$private_ipv4"
    assert config.final_message == "<|10.0.0.2:80|$private_ipv45|$uptime"


@given(st.text(alphabet="$\\_aprivte4u6blc \n", max_size=40))
def test_substitution_leaves_all_else_alone(text: str) -> None:
    made = substitute(text, dict.fromkeys(NAMES, ""))
    if not any(name in text for name in NAMES):
        assert made == text
    assert all(made.count(f"${name}") <= text.count(f"${name}") for name in NAMES)


def test_limits_are_errors_with_a_place() -> None:
    head = "#cloud-config\n"
    long = head + "#" * LIMITS.length
    assert problems(long) == [f"1:1: longer than the {LIMITS.length} bytes that it may have"]
    assert "1:1: longer than" in problems(gzip.compress(long.encode()))[0]
    deep = head + "a: " + "[" * 40 + "]" * 40
    assert problems(deep) == ["2:36: nested deeper than 32 levels"]
    many = head + "a: &a [" + "x," * 1000 + "]\nb: [" + "*a," * 500 + "]"
    assert problems(many)[0].endswith(f"more than {LIMITS.nodes} values, aliases included")


def test_a_text_may_be_long_and_not_longer() -> None:
    head = "#cloud-config\nwrite_files:\n  - path: /etc/a\n    content: "
    assert len(read(head + "x" * (1 << 20)).write_files[0].content) == 1 << 20
    assert problems(head + "x" * (1 + (1 << 20))) == [
        "4:14: 1048577 characters; text has 1048576 at most"
    ]


SECRET = "hunter2-7fb1"  # noqa: S105 - nobody's


@pytest.mark.parametrize("value", [SECRET, f"*{SECRET}", f"!{SECRET}", f"'{SECRET}\\n{{'"])
@pytest.mark.parametrize(
    "text",
    [
        "write_files: [{path: /etc/a, encoding: none, content: VALUE}]",
        "write_files: [{path: /etc/a, content: [VALUE]}]",
        "write_files: [{path: /etc/a, source: {uri: VALUE, sha256: x}}]",
        "write_files: [{path: /etc/a, source: {uri: 'http://a/?token=VALUE', sha256: x}}]",
        "write_files: [{path: /etc/a, source: {headers: [VALUE]}}]",
        'write_files: [{path: /etc/a, source: {headers: {Authorization: "VALUE\\nx"}}}]',
        "ssh_authorized_keys: [VALUE]",
        "ssh_authorized_keys: VALUE",
        "users: [{name: a, sudo: x, passwd: VALUE}]",
        "ca_certs: {trusted: [VALUE]}",
        "chpasswd: VALUE",
        "phone_home: {url: VALUE}",
        "coreos: {unitz: [], flannel: {etcd_password: [VALUE]}}",
        'coreos: {locksmith: {etcd_password: "VALUE\\n"}}',
        "coreos: {units: [{name: a, content: VALUE}]}",
        "bedplate: {registries: {a.example: {password: VALUE}}}",
        'bedplate: {registries: {a.example: {password: "VALUE\\nx", username: x}}}',
        "bedplate: {registries: {'user:VALUE@a.example': {}}}",
        "bedplate: {registries: {a.example: {mirrors: ['user:VALUE@b.example']}}}",
        "bedplate: {proxy: {http: 'user:VALUE@proxy:3128'}}",
        "bedplate: {update: {server: 'user:VALUE@a'}}",
        "bedplate: {pods: [{name: a, manifest: VALUE, url: VALUE}]}",
    ],
)
def test_no_message_quotes_a_secret(text: str, value: str) -> None:
    for problem in problems("#cloud-config\n" + text.replace("VALUE", value)):
        assert SECRET not in problem


def secret_fields() -> Iterator[tuple[str, Kind]]:
    for found in walk(SCHEMA):
        if isinstance(found.kind, Section):
            for name, known in keys(found.kind.model).items():
                yield f"{found.path}.{name}".removeprefix("."), known.kind


def test_what_may_be_secret_is_declared_so() -> None:
    words = ("password", "content", "manifest", "headers", "ssh_authorized_keys", "trusted", "url")
    named = {path: kind for path, kind in secret_fields() if path.rpartition(".")[2] in words}
    assert len(named) >= 10
    assert [path for path, kind in named.items() if not kind.secret] == []


def test_a_secret_is_not_in_the_configuration_s_repr() -> None:
    config = read(
        "#cloud-config\n"
        f"write_files: [{{path: /etc/a, content: {SECRET}}}]\n"
        f"bedplate: {{registries: {{a: {{username: a, password: {SECRET}}}}}}}\n"
    )
    assert config.write_files[0].content == SECRET
    assert SECRET not in repr(config)


@given(st.text())
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    outcome(text.encode("utf-8", "surrogatepass"))


@given(st.binary())
def test_any_bytes_are_a_document_or_an_error(data: bytes) -> None:
    outcome(data)
    outcome(b"#cloud-config\n" + data)
    outcome(b"\x1f\x8b" + data)


@given(st.text(alphabet="ab:-? []{},&*!|>'\"%#@`\n\t\\~.0\r\x85\u2028$", max_size=80))
def test_any_soup_of_yaml_signs_is_a_document_or_an_error(text: str) -> None:
    outcome(f"#cloud-config\n{text}".encode())
    outcome(f"#cloud-config\nwrite_files:\n  - path: {text}".encode())


@given(documents())
def test_any_nearly_right_document_is_one_or_an_error(text: str) -> None:
    outcome(text.encode())


def test_the_nearly_right_documents_are_of_both_sorts() -> None:
    found: set[type[object]] = set()

    @given(documents())
    def look(text: str) -> None:
        found.add(type(outcome(text.encode())))

    look()
    assert found == {Document, DocumentError}


def test_a_file_s_name_is_in_each_place() -> None:
    with pytest.raises(DocumentError, match=r"^/some/where/web\.yaml:2:1: unknown key 'a'"):
        read_document(b"#cloud-config\na: b\n", Path("/some/where/web.yaml"))


def test_sections_that_a_document_has_not_are_not_imported() -> None:
    """Each costs a small host a tenth of a second or more at its first boot."""
    code = (
        "import sys; from pathlib import Path; from cloudconfig.facts import Facts;"
        "from cloudconfig.document import read_document as read;"
        "from cloudconfig.rendering import render_all;"
        "text = b'#cloud-config\\nhostname: web-1\\nntp: {servers: [192.0.2.1]}\\n';"
        "render_all(read(text, Path('user-data')).config, Facts(memory=1 << 30));"
        "print(*(name.rpartition('.')[2] for name in sys.modules if 'cloudconfig.' in name))"
    )
    seldom = {"api", "cluster", "etcd", "flannel", "locksmith", "mounts", "network", "policy"}
    imported = set(programs.run((sys.executable, "-c", code)).split())
    assert "machine" in imported
    assert not imported & {*seldom, "registry", "storage"}
