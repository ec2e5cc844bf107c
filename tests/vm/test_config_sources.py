"""A boot from each source of a cloud-config, on the production image and nothing else.

Nobody logs in: that the configuration is in force is read from the console, where the status
page shows the host's name and where its document came from.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import config_disks
import metadata_servers as clouds
from builder.vm.accelerator import accelerator
from builder.vm.config import Disk, MachineConfig, UserNetwork
from builder.vm.machine import Machine
from builder.vm.uki import kernel_of
from builder.vm.wait import WaitError
from metadata_servers import Instance, Server
from site_of_tests import BOOT_SECONDS, CACHE, GIB, Site, tools

_QUIET_SECONDS = 20.0  # in which a host that would reboot again does
_META = b"instance-id: i-test\n"


@dataclass(frozen=True, slots=True)
class Given:
    """What a machine is given so that it finds its document."""

    disks: tuple[Disk, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict)
    firmware: Mapping[str, str] = field(default_factory=dict)
    fw_cfg: Mapping[str, Path] = field(default_factory=dict)
    parameters: str = ""
    server: Server | None = None


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


def _nocloud_vfat(name: str, folder: Path) -> Given:
    files = {"user-data": _document(name), "meta-data": _META}
    return Given(disks=(Disk(config_disks.vfat(tools(), folder / "c.img", "CIDATA", files)),))


def _nocloud_iso(name: str, folder: Path) -> Given:
    files = {"user-data": _document(name), "meta-data": _META}
    disk = config_disks.iso(tools(), folder / "c.iso", "cidata", files)
    return Given(disks=(Disk(disk, read_only=True),))


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


def _page(name: str, source: str) -> str:
    """The status page of a host of this name, with a document from this source."""
    return rf"host +{name}\s(.*\n)*? +config +document from {re.escape(source)}"


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
    with _booted(image, tmp_path, SOURCES[source](name, tmp_path)) as machine:
        machine.wait_for_console(_page(name, source.split(maxsplit=1)[0]), BOOT_SECONDS)


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
