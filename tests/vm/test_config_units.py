"""Every unit that is made of a document is one that systemd itself finds nothing wrong with."""

import re
import textwrap
from pathlib import Path

import pytest

from asserted import about, assertions, below
from builder.run import CommandError
from builder.steps.toolbox import toolbox
from builder.vm.certificate import self_signed
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render.units import FOLDER
from cloudconfig.rendering import render_all
from site_of_tests import PROJECT, tools

_UNITS = "/usr/lib/systemd/system/"
_FACTS = Facts(passwd="root:x:0:0::/:/x\n", group="root:x:0:\n", memory=1 << 30)  # noqa: S106
_FIXTURES = PROJECT / "tests/unit/unit_fixtures"
_ETCD = """\
bedplate:
  etcd:
    listen_client_urls: https://192.168.1.1:2379
    cert_file: /etc/etcd/member.crt
    key_file: /etc/etcd/member.key
    trusted_ca_file: /etc/etcd/ca.crt
"""


_API = """\
bedplate:
  api:
    port: 8443
    ca: |
{certificate}
    certificate: |
{certificate}
    key: |
{key}
"""


def _write(text: str, folder: Path) -> list[Path]:
    """The document's units in `folder`, with their drop-ins and links; the units' paths."""
    document = read_document(f"#cloud-config\n{text}".encode(), Path("x.yaml"))
    rendered = below(FOLDER, render_all(document.config, _FACTS))
    for name, item in rendered.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(item.content)
    for name, link in rendered.links.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link.target)
    # A template is verified by an instance of it, and what is masked is nothing.
    return [folder / name for name in rendered.files if "/" not in name and "@." not in name]


def _verify(units: list[Path], folder: Path) -> None:
    paths = [str(path) for path in units]
    # It insists on a /run, which the sandbox has not.
    script = 'mkdir -p /run/systemd && exec systemd-analyze verify --man=no "$@" 2>&1'
    # What it only ignores is told, and no failure.
    assert toolbox(tools(), folder).run(["sh", "-c", script, "sh", *paths]) == ""


def _fixtures() -> list[str]:
    """The names of those that give units, and not errors."""
    return sorted(
        path.name
        for path in _FIXTURES.glob("*.yaml")
        if not about(assertions(path.read_text()), "error")
    )


@pytest.mark.parametrize("name", _fixtures())
def test_systemd_finds_nothing_wrong_with(name: str, tmp_path: Path) -> None:
    units = _write((_FIXTURES / name).read_text(), tmp_path)
    assert units
    _verify(units, tmp_path)


def test_systemd_finds_something_wrong_where_there_is(tmp_path: Path) -> None:
    unit = tmp_path / "a.service"
    unit.write_text("[Service]\nExecStart=relative\n")
    with pytest.raises(CommandError):
        _verify([unit], tmp_path)
    unit.write_text("[Service]\nExecStart=/usr/bin/true\nNicee=1\n")
    with pytest.raises(AssertionError):
        _verify([unit], tmp_path)


def _without_programs(unit: Path) -> str:
    """A unit's text; its programs are in the image, not among the tools."""
    return re.sub(
        r"^(Exec\w+=[-+!@:]*)/\S+", r"\1/usr/bin/true", unit.read_text(), flags=re.MULTILINE
    )


def test_the_agents_own_units(tmp_path: Path) -> None:
    units = []
    for source in sorted(PROJECT.glob("*/dist/*.*")):
        if source.suffix not in {".path", ".service", ".socket", ".timer"}:
            continue
        unit = tmp_path / source.name
        unit.write_text(_without_programs(source))
        units.append(unit)
    assert len(units) >= 5
    _verify(units, tmp_path)


def test_the_unit_of_the_etcd_extension(tmp_path: Path) -> None:
    (source,) = PROJECT.glob(f"images/etcd/root{_UNITS}bedplate-etcd.service")
    unit = tmp_path / source.name
    unit.write_text(source.read_text().replace("/usr/bin/etcd", "/usr/bin/true"))
    _write(_ETCD, tmp_path)
    assert (tmp_path / f"{unit.name}.d/50-credentials.conf").is_file()
    _verify([unit], tmp_path)


def test_the_drop_in_of_the_apis_socket(tmp_path: Path) -> None:
    for source in PROJECT.glob("cloud-config/dist/bedplate-api.s*"):
        (tmp_path / source.name).write_text(_without_programs(source))
    certificate, key = (textwrap.indent(each.decode(), " " * 6) for each in self_signed("::1"))
    _write(_API.format(certificate=certificate, key=key), tmp_path)
    drop_in = tmp_path / "bedplate-api.socket.d/50-port.conf"
    _verify([tmp_path / "bedplate-api.socket"], tmp_path)
    drop_in.write_text(drop_in.read_text().replace("8443", "everywhere"))
    with pytest.raises(CommandError, match="everywhere"):
        _verify([tmp_path / "bedplate-api.socket"], tmp_path)
