import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudconfig import document
from cloudconfig.sources import (
    baked,
    base,
    config_drive,
    credentials,
    fw_cfg,
    mounts,
    nocloud_disk,
)
from cloudconfig.sources.base import Machine, Offer, Source, SourceError
from config_sources_kit import DOCUMENT, Laid
from metadata_servers import KEY, Instance, nocloud_files, openstack_files
from updater import programs


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laid:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    laid = Laid(tmp_path)
    laid.boot()
    return laid


def offered(source: Source, laid: Laid) -> Offer:
    assert source.present(laid.machine)
    offer = source.look(laid.machine)
    assert offer is not None
    return offer


# --- the machine


def test_the_last_argument_of_a_name_counts_and_quotes_hold_spaces(laid: Laid) -> None:
    laid.boot('quiet ds=ec2 x="a b" "ds=nocloud;s=https://a/" ds_more=1 ds')
    assert laid.machine.argument("x") == "a b"
    assert laid.machine.argument("ds") == "nocloud;s=https://a/"
    assert laid.machine.argument("quiet") == ""
    assert laid.machine.asks_for("nocloud")
    assert not laid.machine.asks_for("ec2")
    laid.boot("ds=EC2")
    assert laid.machine.asks_for("ec2")
    assert not laid.machine.asks_for("ec")


def test_firmware_that_says_nothing_says_nothing(laid: Laid) -> None:
    laid.boot(sys_vendor="Amazon EC2", product_name="\xff\xfe")
    assert laid.machine.dmi("sys_vendor") == "Amazon EC2"
    assert laid.machine.dmi("product_serial") == ""
    assert laid.machine.dmi("product_name").isprintable()


def test_files_of_the_system_are_bounded(laid: Laid) -> None:
    laid.put("some/file", b"x" * 11)
    assert laid.machine.read("some/file", 11) == b"x" * 11
    with pytest.raises(SourceError, match="/some/file: longer than the 10 bytes"):
        laid.machine.read("some/file", 10)
    with pytest.raises(SourceError, match="/some: Is a directory"):
        laid.machine.read("some")
    assert laid.machine.read("some/file/below") is None


def test_documents_may_be_as_long_as_the_parser_allows() -> None:
    assert document.LIMITS.length == base.DOCUMENT_LIMIT


def test_looking_for_sources_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from cloudconfig.sources import order, base;"
        "order.find(base.Machine(Path('/nonexistent')), network=True);"
        "heavy = {'requests', 'yaml', 'ssl', 'subprocess', 'tempfile', 'ipaddress', 'json'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    # urllib.parse, which takes URLs apart, brings ipaddress from Python 3.11.4 on.
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.decode().strip() in {"[]", "['ipaddress']"}


# --- single files


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        (
            fw_cfg.SOURCE,
            "sys/firmware/qemu_fw_cfg/by_name/opt/org.bedplate/config/raw",
            "fw_cfg/opt/org.bedplate/config",
        ),
        (
            credentials.SOURCE,
            "run/credentials/@system/bedplate.cloud-config",
            "credential/bedplate.cloud-config",
        ),
        (
            credentials.SOURCE,
            "run/credentials/@system/cloud-config",
            "credential/cloud-config",
        ),
        (
            baked.SOURCE,
            "usr/share/bedplate/cloud-config.yaml",
            "/usr/share/bedplate/cloud-config.yaml",
        ),
    ],
)
def test_a_single_file_is_a_source(laid: Laid, source: Source, path: str, name: str) -> None:
    assert source.present(laid.machine) == ""
    laid.put(path, DOCUMENT)
    offer = offered(source, laid)
    assert offer.document == DOCUMENT
    assert str(offer.file) == name
    assert offer.source == source.name
    laid.put(path, b" \n")
    assert offered(source, laid).document is None
    laid.put(path, b"x" * (base.DOCUMENT_LIMIT + 1))
    with pytest.raises(SourceError, match="longer than the 4194304 bytes"):
        source.look(laid.machine)


def test_our_own_credential_goes_first(laid: Laid) -> None:
    laid.put("run/credentials/@system/cloud-config", b"#other")
    laid.put("run/credentials/@system/bedplate.cloud-config", DOCUMENT)
    assert offered(credentials.SOURCE, laid).document == DOCUMENT


def test_a_unit_reads_the_credentials_that_it_has_imported(
    laid: Laid, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid.put("run/credentials/@system/cloud-config", b"#the system's")
    laid.put("run/credentials/unit.service/cloud-config", DOCUMENT)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit.service")
    assert offered(credentials.SOURCE, laid).document == DOCUMENT


def test_what_is_offered_is_not_shown() -> None:
    offer = Offer("x", Path("x"), b"password: secret", network=b"password: secret")
    assert "secret" not in repr(offer)


# --- disks


@pytest.mark.parametrize("label", ["CIDATA", "cidata"])
def test_a_nocloud_disk_is_read(laid: Laid, label: str) -> None:
    laid.disk(label, nocloud_files(Instance(DOCUMENT, "iid-1", "web-1.example.org")))
    offer = offered(nocloud_disk.SOURCE, laid)
    assert offer == Offer(
        source="nocloud-disk",
        file=Path("nocloud-disk/user-data"),
        document=DOCUMENT,
        instance_id="iid-1",
        hostname="web-1.example.org",
        public_keys=(KEY,),
    )
    assert laid.mounted == [label]


def nocloud(laid: Laid, **files: bytes) -> Offer:
    named = {name.replace("_", "-"): data for name, data in files.items()}
    laid.disk("CIDATA", {"user-data": DOCUMENT, "meta-data": b"", **named})
    return offered(nocloud_disk.SOURCE, laid)


@pytest.mark.parametrize("missing", ["user-data", "meta-data"])
def test_both_files_of_nocloud_must_be_there(laid: Laid, missing: str) -> None:
    files = nocloud_files(Instance(DOCUMENT))
    del files[missing]
    laid.disk("CIDATA", files)
    with pytest.raises(SourceError, match=f"^{missing} is missing: NoCloud needs"):
        nocloud_disk.SOURCE.look(laid.machine)


@pytest.mark.parametrize("blank", [b"", b"\n", b"# nothing\n---\n", b"~\n"])
def test_metadata_may_be_blank(laid: Laid, blank: bytes) -> None:
    if blank == b"~\n":
        with pytest.raises(SourceError, match="meta-data: expected a mapping"):
            nocloud(laid, meta_data=blank)
        return
    offer = nocloud(laid, meta_data=blank)
    assert (offer.instance_id, offer.hostname, offer.public_keys) == ("", "", ())


def test_metadata_is_taken_as_it_is_written(laid: Laid) -> None:
    offer = nocloud(
        laid,
        meta_data=b"instance-id: 0123\nhostname: on\nlocal_ipv4: 10.0.0.5\npublic-ipv6: 2001:db8::1"
        b"\ndsmode: local\n",
    )
    assert offer.instance_id == "0123"
    assert offer.hostname == "on"
    assert offer.variables == {"private_ipv4": "10.0.0.5", "public_ipv6": "2001:db8::1"}
    assert not offer.warnings


@pytest.mark.parametrize(
    "keys",
    [
        f"{KEY}",
        f"\n - {KEY}\n - {KEY}",
        f"\n  mine: [{KEY}]",
        f"\n  mine: {{openssh-key: {KEY}}}",
        f"|\n  # mine\n  {KEY}\n",
    ],
)
def test_keys_come_in_many_forms(laid: Laid, keys: str) -> None:
    offer = nocloud(laid, meta_data=f"public-keys: {keys}\n".encode())
    assert offer.public_keys == (KEY,)
    assert not offer.warnings


def test_what_is_not_used_is_said(laid: Laid) -> None:
    offer = nocloud(
        laid,
        meta_data=b"seedfrom: http://a/\nnetwork-interfaces: |\n  auto eth0\nlocal-hostname: a_b\n"
        b"public-keys: [nonsense]\nlocal-ipv4: 10.0.0\n",
        vendor_data=b"#cloud-config\n",
    )
    assert [warning.split(" is ")[0].split(" are ")[0] for warning in offer.warnings] == [
        "meta-data: network-interfaces",
        "meta-data: seedfrom",
        "vendor-data",
        "the host name 'a_b'",
        "1 lines of the public SSH keys",
        "the address '10.0.0' of $private_ipv4",
    ]
    assert offer.hostname == ""
    assert offer.public_keys == ()
    assert offer.variables == {}


def test_the_network_comes_along(laid: Laid) -> None:
    assert nocloud(laid, network_config=b"version: 2\n").network == b"version: 2\n"
    assert nocloud(laid, network_config=b"\n").network is None


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("meta-data", b"a: [\n", r"nocloud-disk/meta-data:2:1: not YAML"),
        ("meta-data", b"a: b\nc: \xff\n", r"nocloud-disk/meta-data:2:4: not UTF-8"),
        ("meta-data", b"- a\n", r"nocloud-disk/meta-data: expected a mapping"),
        ("meta-data", b"instance-id: 'a b'\n", r"the instance id 'a b' is none"),
        ("meta-data", b"instance-id: a/b\n", r"the instance id 'a/b' is none"),
        ("meta-data", b"instance-id: ..\n", r"the instance id '..' is none"),
        ("meta-data", b'instance-id: "a\\u0007"\n', r"the instance id 'a\\x07' is none"),
        ("meta-data", b"instance-id: [a]\n", r"the instance id \['a'\] is none"),
        ("meta-data", b"instance-id: " + b"x" * 129, r"the instance id 'x+\.\.\. is none"),
        ("meta-data", b"#" * (256 * 1024 + 1), r"meta-data: longer than the 262144 bytes"),
        ("user-data", b"#" * (4 * 1024 * 1024 + 1), r"user-data: longer than the 4194304"),
        ("network-config", b"#" * (256 * 1024 + 1), r"network-config: longer than the"),
    ],
)
def test_a_disk_that_is_wrong_is_refused(laid: Laid, name: str, data: bytes, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        nocloud(laid, **{name: data})


def test_a_config_drive_is_read(laid: Laid) -> None:
    network = {
        "links": [{"id": "a", "type": "ovs", "ethernet_mac_address": "fa:16:3e:60:32:83"}],
        "networks": [{"id": "b", "link": "a", "type": "ipv4_dhcp"}],
    }
    instance = Instance(DOCUMENT, "83679162-1378", "web-1.novalocal", network_data=network)
    laid.disk("config-2", openstack_files(instance))
    offer = offered(config_drive.SOURCE, laid)
    assert offer.document == DOCUMENT
    assert offer.instance_id == "83679162-1378"
    assert offer.hostname == "web-1.novalocal"
    assert offer.public_keys == (KEY,)
    assert offer.network is not None
    assert b"fa:16:3e:60:32:83" in offer.network
    assert not offer.warnings


def test_a_config_drive_without_a_document_still_says_who_the_machine_is(laid: Laid) -> None:
    laid.disk("config-2", openstack_files(Instance(None)))
    offer = offered(config_drive.SOURCE, laid)
    assert offer.document is None
    assert offer.instance_id == "i-0123456789abcdef0"
    assert offer.network is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "openstack/latest/meta_data.json is missing"),
        (b"{", "meta_data.json: not JSON"),
        (b"[]", "meta_data.json: expected a JSON object"),
        (b"\xff", "meta_data.json: not JSON"),
        (b'{"a":' * 100_000, "not JSON|longer than"),
        (b'{"uuid": {}}', "the instance id {} is none"),
    ],
)
def test_a_wrong_config_drive_is_refused(laid: Laid, data: bytes | None, reason: str) -> None:
    files = {} if data is None else {"openstack/latest/meta_data.json": data}
    laid.disk("config-2", {"other": b"", **files})
    with pytest.raises(SourceError, match=reason):
        config_drive.SOURCE.look(laid.machine)


@pytest.mark.parametrize("keys", [b"null", b"{}", b"[]", b'"x"', b"[[1]]", b'{"a": null}', b"7"])
def test_odd_keys_of_openstack_do_no_harm(laid: Laid, keys: bytes) -> None:
    metadata = b'{"uuid": "a", "public_keys": ' + keys + b"}"
    laid.disk("config-2", {"openstack/latest/meta_data.json": metadata})
    assert offered(config_drive.SOURCE, laid).public_keys == ()


def test_a_disk_that_cannot_be_mounted_is_named(laid: Laid) -> None:
    @contextmanager
    def failing(device: Path, at: Path) -> Iterator[None]:
        assert device.name == "CIDATA"
        assert at == laid.root / "run/bedplate-config/disk"
        raise programs.ProgramError("`mount` ended with 32: wrong fs type")
        yield

    laid.disk("CIDATA", {})
    machine = Machine(laid.root, mount=failing)
    with pytest.raises(SourceError, match="the disk CIDATA cannot be read: `mount` ended"):
        nocloud_disk.SOURCE.look(machine)


def test_mounting_is_read_only_and_of_two_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(programs, "run", lambda argv: ran.append(tuple(argv)))
    at = tmp_path / "at"

    def fail() -> None:
        with mounts.read_only(Path("/dev/x"), at):
            assert at.stat().st_mode & 0o777 == 0o700
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    options = "ro,nosuid,nodev,noexec"
    assert ran == [
        ("mount", "-t", "iso9660,vfat", "-o", options, "/dev/x", str(at)),
        ("umount", str(at)),
    ]
    assert not at.exists()


def test_a_disk_that_stays_mounted_was_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def run(argv: tuple[str, ...]) -> None:
        if argv[0] == "umount":
            raise programs.ProgramError("target is busy")

    monkeypatch.setattr(programs, "run", run)
    with mounts.read_only(Path("/dev/x"), tmp_path / "at"):
        pass
    assert "still mounted: target is busy" in caplog.text


def test_nothing_outside_of_a_disk_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    disk = tmp_path / "disk"
    (disk / "openstack").mkdir(parents=True)
    (disk / "user-data").symlink_to(tmp_path / "secret")
    (disk / "openstack/latest").symlink_to(tmp_path)
    os.mkfifo(disk / "meta-data")
    for name in ("user-data", "meta-data", "openstack/latest/secret", "openstack"):
        with pytest.raises(OSError):  # noqa: PT011 - of several kinds
            mounts.read_below(disk, name, 100)
    assert mounts.read_below(disk, "vendor-data", 100) is None
    assert mounts.read_below(disk, "nothing/at/all", 100) is None
    assert mounts.read_below(tmp_path, "secret", 2) == b"sec"


def test_a_link_on_a_disk_is_said_to_be_one(laid: Laid) -> None:
    @contextmanager
    def linked(device: Path, at: Path) -> Iterator[None]:
        at.mkdir(parents=True)
        (at / "user-data").symlink_to(device)
        yield

    laid.disk("CIDATA", {})
    machine = Machine(laid.root, mount=linked)
    with pytest.raises(SourceError, match="user-data: cannot be read: Too many levels of symbolic"):
        nocloud_disk.SOURCE.look(machine)
