"""A boot from each source of a cloud-config, on the production image and nothing else.

Nobody logs in: that the configuration is in force is read from the console, where the status
page shows the host's name and where its document came from.
"""

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import config_disks
import metadata_servers as clouds
import tls_server
from builder.build_cli import read_trust
from builder.definition.load import load
from builder.pipeline import Options, build
from builder.vm.accelerator import accelerator
from builder.vm.config import DEFAULT_UUID, Disk, MachineConfig, UserNetwork, mac_address
from builder.vm.machine import Machine
from builder.vm.uki import kernel_of
from builder.vm.wait import WaitError
from metadata_servers import Instance, Server
from site_of_tests import BOOT_SECONDS, CACHE, GIB, PROJECT, Site, tools

_QUIET_SECONDS = 20.0  # in which a host that would reboot again does
_META = b"instance-id: i-test\n"
_CARD = mac_address(DEFAULT_UUID, 0)
_DHCP = "10.0.2.15"
_GATEWAY = "10.0.2.2"  # this machine, as guests see it
# network-config of both versions: an address of its own beside the one by DHCP.
_STATIC = {1: "192.0.2.71", 2: "192.0.2.72"}
_NETWORK_CONFIG = {
    1: f"""\
version: 1
config:
  - type: physical
    name: eth0
    mac_address: "{_CARD}"
    subnets:
      - type: dhcp4
      - {{type: static, address: {_STATIC[1]}/24}}
""",
    2: f"""\
version: 2
ethernets:
  card:
    match: {{macaddress: "{_CARD}"}}
    dhcp4: true
    addresses: [{_STATIC[2]}/24]
""",
}


@dataclass(frozen=True, slots=True)
class Given:
    """What a machine is given so that it finds its document; and the addresses that it then has."""

    disks: tuple[Disk, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    firmware: Mapping[str, str] = field(default_factory=dict)
    fw_cfg: Mapping[str, Path] = field(default_factory=dict)
    parameters: str = ""
    server: Server | None = None
    addresses: tuple[str, ...] = ()


def _document(name: str) -> bytes:
    return f"#cloud-config\nhostname: {name}\n".encode()


def _instance(name: str) -> Instance:
    return Instance(user_data=_document(name), hostname="not-this-one")


def _credential(name: str, _folder: Path) -> Given:
    return Given(credentials={"bedplate.cloud-config": _document(name).decode()})


def _fw_cfg(name: str, folder: Path) -> Given:
    path = folder / "document"
    path.write_bytes(_document(name))
    return Given(fw_cfg={"opt/org.bedplate/config": path})


def _nocloud(name: str, version: int) -> dict[str, bytes]:
    """NoCloud's files, with a network-config of this version."""
    network = _NETWORK_CONFIG[version].encode()
    return {"user-data": _document(name), "meta-data": _META, "network-config": network}


def _nocloud_vfat(name: str, folder: Path) -> Given:
    disk = config_disks.vfat(tools(), folder / "c.img", "CIDATA", _nocloud(name, 1))
    return Given(disks=(Disk(disk),), addresses=(_DHCP, _STATIC[1]))


def _nocloud_iso(name: str, folder: Path) -> Given:
    disk = config_disks.iso(tools(), folder / "c.iso", "cidata", _nocloud(name, 2))
    return Given(disks=(Disk(disk, read_only=True),), addresses=(_DHCP, _STATIC[2]))


def _config_drive(name: str, folder: Path) -> Given:
    files = clouds.openstack_files(_instance(name))
    files = {path: content for path, content in files.items() if not path.endswith("/")}
    disk = config_disks.iso(tools(), folder / "c.iso", "config-2", files)
    return Given(disks=(Disk(disk, read_only=True),))


def _command_line(name: str, _folder: Path) -> Given:
    server = Server(clouds.files({"config.yaml": _document(name)}))
    url = "http://169.254.169.254/config.yaml"
    return Given(parameters=f"cloud-config-url={url}", server=server)


def _nocloud_net(name: str, _folder: Path) -> Given:
    server = Server(clouds.files({"user-data": _document(name), "meta-data": _META}))
    return Given(firmware={"serial": "ds=nocloud;s=http://169.254.169.254/"}, server=server)


def _ec2(name: str, _folder: Path) -> Given:
    server = Server(clouds.ec2(_instance(name)))
    return Given(firmware={"manufacturer": "Amazon EC2"}, server=server)


def _gce(name: str, _folder: Path) -> Given:
    server = Server(clouds.gce(_instance(name)))
    return Given(firmware={"product": "Google Compute Engine"}, server=server)


def _openstack(name: str, _folder: Path) -> Given:
    server = Server(clouds.openstack(_instance(name)))
    return Given(firmware={"product": "OpenStack Nova"}, server=server)


SOURCES: dict[str, Callable[[str, Path], Given]] = {
    "credential": _credential,
    "fw_cfg": _fw_cfg,
    "nocloud-disk vfat": _nocloud_vfat,
    "nocloud-disk iso9660": _nocloud_iso,
    "config-drive": _config_drive,
    "cloud-config-url": _command_line,
    "nocloud-net": _nocloud_net,
    "ec2": _ec2,
    "gce": _gce,
    "openstack": _openstack,
}


@contextmanager
def _booted(image: Path, folder: Path, given: Given) -> Iterator[Machine]:
    folder.mkdir(exist_ok=True)
    kernel = folder / "vmlinuz"
    kernel.write_bytes(kernel_of(image.parent / "bedplate.efi"))
    with ExitStack() as stack:
        port = stack.enter_context(given.server).port if given.server else None
        config = MachineConfig(
            folder=folder / "machine",
            accelerator=accelerator(tools(), kernel, CACHE),
            image=image,
            disk_size=6 * GIB,
            cpus=1,
            credentials=given.credentials,
            firmware=given.firmware,
            fw_cfg=given.fw_cfg,
            parameters=given.parameters,
            disks=given.disks,
            networks=(UserNetwork(forwards=(), metadata=port),),
        )
        config.folder.mkdir()
        yield stack.enter_context(Machine(config, tools()))


def _page(name: str, source: str, address: str = "") -> str:
    """The status page of a host of this name and address, with a document from this source."""
    where = rf" +addresses .*{re.escape(address)}.*\n(.*\n)*?" if address else r"(.*\n)*?"
    return rf"host +{name}\s*\n{where} +config +document from {re.escape(source)}"


def _cases() -> list[object]:
    """Those that stand for the others are in `make test`, all of them in `make test-config`."""
    always = {"nocloud-disk iso9660", "ec2"}
    return [
        pytest.param(name, marks=[] if name in always else [pytest.mark.thorough])
        for name in SOURCES
    ]


@pytest.mark.parametrize("source", _cases())
def test_a_boot_from(source: str, site: Site, tmp_path: Path) -> None:
    name = "from-" + source.replace(" ", "-").replace("_", "-")
    image = site.release("1") / "bedplate_1.qcow2"
    given = SOURCES[source](name, tmp_path)
    with _booted(image, tmp_path, given) as machine:
        for address in given.addresses or ("",):
            page = _page(name, source.split(maxsplit=1)[0], address)
            machine.wait_for_console(page, BOOT_SECONDS)


@pytest.mark.thorough
def test_nocloud_over_https(site: Site, tmp_path: Path) -> None:
    """From a server that the image trusts; one that it does not trust is not listened to."""
    files = {"user-data": _document("over-https"), "meta-data": _META}
    with tls_server.serving(files, _GATEWAY, tmp_path) as https:
        given = Given(firmware={"serial": f"ds=nocloud;s=https://{_GATEWAY}:{https.port}/"})
        trusting = _trusting(https.certificate, site, tmp_path)
        with _booted(trusting, tmp_path / "trusting", given) as machine:
            machine.wait_for_console(_page("over-https", "nocloud-net"), BOOT_SECONDS)
        image = site.release("1") / "bedplate_1.qcow2"
        with _booted(image, tmp_path / "other", given) as machine:
            # The page is broken into lines, this one within the URL.
            refused = r"fault: nocloud-net: https://.*\n.*the server's certificate"
            machine.wait_for_console(refused, BOOT_SECONDS)
            assert "over-https" not in machine.console(since=0)


def _trusting(certificate: str, site: Site, folder: Path) -> Path:
    """The disk image of a release that trusts this authority, and no other."""
    definition = folder / "trusting.yaml"
    definition.write_text(
        f"extends: {PROJECT}/images/base.yaml\n"
        "files:\n"
        "  - path: /etc/ssl/certs/ca-certificates.crt\n"
        "    content: |\n" + textwrap.indent(certificate, " " * 6)
    )
    options = Options(folder / "built", CACHE, trust=read_trust(site.blank, site.keys))
    built = build(load(definition, overrides={"version": "1"}), options, site.reporter)
    return built.folder / "bedplate_1.qcow2"


@pytest.mark.thorough
def test_a_document_in_the_image_that_reboots_its_host_once(site: Site, tmp_path: Path) -> None:
    """The image counts a wrong document as a fault, and this one is right."""
    image = site.release("1", "tests/vm/images/baked.yaml") / "bedplate_1.qcow2"
    with _booted(image, tmp_path, Given()) as machine:
        machine.wait_for_reboot(BOOT_SECONDS)
        mark = machine.console_size()
        machine.wait_for_console(_page("from-image", "image"), BOOT_SECONDS, since=mark)
        machine.monitor.forget_events()
        good = r"host +from-image\s(.*\n)*? +health +good"
        machine.wait_for_console(good, BOOT_SECONDS, since=mark)
        with pytest.raises(WaitError):
            machine.wait_for_reboot(_QUIET_SECONDS)


@pytest.mark.thorough
def test_a_wrong_document_where_the_image_says_that_it_counts(site: Site, tmp_path: Path) -> None:
    image = site.release("1", "tests/vm/images/wrongdocument.yaml") / "bedplate_1.qcow2"
    with _booted(image, tmp_path, Given()) as machine:
        machine.wait_for_console(r"config +defaults; fault: .*cloud-config\.yaml:2:1", BOOT_SECONDS)
        # The boot is a spent try, like that of any release that is not healthy.
        machine.wait_for_reboot(BOOT_SECONDS)
        assert not re.search(r"health +good", machine.console(since=0))
