"""Every unit that is made of a document is one that systemd itself finds nothing wrong with."""

import re
from pathlib import Path

import pytest

from builder.run import CommandError
from builder.steps.toolbox import toolbox
from cloudconfig.desired import File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.rendering import render_all
from site_of_tests import PROJECT, tools

_FOLDER = "/etc/systemd/system/"
_UNITS = "/usr/lib/systemd/system/"
_FACTS = Facts(passwd="root:x:0:0::/:/x\n", group="root:x:0:\n", memory=1 << 30)  # noqa: S106
_DOCUMENTS = {
    "mounts": """\
mounts:
  - [LABEL=data, /var/mnt/data]
  - [/dev/vdb1, /var/mnt/with-dash, ext4, "noatime,nofail,x-systemd.device-timeout=10s"]
  - [UUID=0b6ae0e0-6f65-4d4c-9d0c-0a3f1c6b2c11, /var/lib/x, ext4, ro, "0", "2"]
""",
    "swap": "swap: {filename: /var/swap, size: 64M}\n",
    "units": """\
coreos:
  units:
    - name: a.service
      enable: true
      content: |
        [Service]
        ExecStart=/usr/bin/true
        [Install]
        WantedBy=multi-user.target
      drop-ins: [{name: x.conf, content: "[Service]\\nNice=1"}]
""",
}

_ETCD = """\
bedplate:
  etcd:
    listen_client_urls: https://192.168.1.1:2379
    cert_file: /etc/etcd/member.crt
    key_file: /etc/etcd/member.key
    trusted_ca_file: /etc/etcd/ca.crt
"""


def _write(text: str, folder: Path) -> list[Path]:
    """The document's units in `folder`, drop-ins too; the units' paths."""
    document = read_document(f"#cloud-config\n{text}".encode(), Path("x.yaml"))
    units = []
    for item in render_all(document.config, _FACTS).items:
        name = str(item.path).removeprefix(_FOLDER)
        if isinstance(item, File) and name != str(item.path):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.content)
            units += [path] if path.parent == folder else []
    return units


def _verify(units: list[Path], folder: Path) -> None:
    paths = [str(path) for path in units]
    # It insists on a /run, which the sandbox has not.
    script = 'mkdir -p /run/systemd && exec systemd-analyze verify --man=no "$@" 2>&1'
    # What it only ignores is told, and no failure.
    assert toolbox(tools(), folder).run(["sh", "-c", script, "sh", *paths]) == ""


@pytest.mark.parametrize("family", ["mounts", "swap", "units"])
def test_systemd_finds_nothing_wrong_with(family: str, tmp_path: Path) -> None:
    units = _write(_DOCUMENTS[family], tmp_path)
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


def test_the_agents_own_units(tmp_path: Path) -> None:
    units = []
    for source in sorted(PROJECT.glob("*/dist/*.*")):
        if source.suffix not in {".path", ".service", ".socket", ".timer"}:
            continue
        # Their programs are in the image, not among the tools.
        text = re.sub(
            r"^(Exec\w+=[-+!@:]*)/\S+", r"\1/usr/bin/true", source.read_text(), flags=re.MULTILINE
        )
        unit = tmp_path / source.name
        unit.write_text(text)
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
