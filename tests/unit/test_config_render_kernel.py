"""Kernel parameters and modules."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Affects, Desired, File, Reaction
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import kernel
from hostkit.document.source import DocumentError

SYSCTL = Affects("systemd-sysctl.service", Reaction.START)
MODULES = Affects("systemd-modules-load.service", Reaction.START)


def rendered(body: str) -> Desired:
    config = read_document(f"#cloud-config\nbedplate: {body}\n".encode(), Path("c.yaml")).config
    return kernel.render(config, Facts())


def test_parameters_are_lines_as_they_are_written() -> None:
    desired = rendered(
        "{sysctl: {net.ipv4.ip_forward: 1, net.ipv4.conf.*.rp_filter: 0, kernel.x: '1 2',"
        " -vm/y: 0x10}}"
    )
    content = (
        b"net.ipv4.ip_forward = 1\nnet.ipv4.conf.*.rp_filter = 0\nkernel.x = 1 2\n-vm/y = 0x10\n"
    )
    path = PurePosixPath("/etc/sysctl.d/50-bedplate.conf")
    assert desired == Desired(items=(File(path, content, affects=(SYSCTL,)),))


def test_modules_are_loaded_before_parameters_are_set() -> None:
    first, second = rendered("{modules: [wireguard, br_netfilter], sysctl: {a.b: 1}}").items
    assert first == File(
        PurePosixPath("/etc/modules-load.d/50-bedplate.conf"),
        b"wireguard\nbr_netfilter\n",
        affects=(MODULES, SYSCTL),
    )
    assert isinstance(second, File)
    assert second.affects == (SYSCTL,)
    (alone,) = rendered("{modules: [wireguard]}").items
    assert isinstance(alone, File)
    assert alone.affects == (MODULES,)


def test_nothing_said_is_nothing_done() -> None:
    assert rendered("{}") == Desired()


@pytest.mark.parametrize(
    "body",
    [
        "{sysctl: {'net/../../etc/x': 1}}",
        "{sysctl: {'#a': 1}}",
        "{sysctl: {'a = b': 1}}",
        '{sysctl: {"a\\nb": 1}}',
        '{sysctl: {a: "1\\rb = 2"}}',
        "{modules: ['a b']}",
        "{modules: ['#a']}",
    ],
)
def test_what_would_be_another_line_or_path_is_refused(body: str) -> None:
    with pytest.raises(DocumentError, match=r"c\.yaml:2:"):
        rendered(body)


@given(st.text(), st.text())
def test_no_value_adds_a_line(name: str, value: str) -> None:
    quoted = ["'" + text.replace("'", "''") + "'" for text in (name, value)]
    try:
        desired = rendered(f"{{sysctl: {{? {quoted[0]} : {quoted[1]}}}}}")
    except DocumentError:
        return
    (file,) = desired.items
    assert isinstance(file, File)
    assert file.content.count(b"\n") == 1
    assert not {0, 13} & set(file.content)
