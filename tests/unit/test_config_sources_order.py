from collections.abc import Callable
from pathlib import Path

import pytest

from cloudconfig.sources import order, web
from cloudconfig.sources.base import Machine, Offer, Source, SourceError
from cloudconfig.sources.order import Found, Outcome, find, wants_network
from config_sources_kit import DOCUMENT, Laid
from metadata_servers import (
    KEY,
    Behaviour,
    Instance,
    Server,
    ec2,
    files,
    gce,
    nocloud_files,
    openstack,
    openstack_files,
)

BAKED = "usr/share/bedplate/cloud-config.yaml"


@pytest.fixture
def laid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Laid:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(web, "RETRIES", 0)
    laid = Laid(tmp_path)
    laid.boot()
    return laid


def outcomes(found: Found) -> dict[str, Outcome]:
    return {one.source: one.outcome for one in found.tried}


def source(
    name: str,
    answer: bytes | SourceError | None,
    *,
    needs_network: bool = False,
    instance_id: str = "",
    hostname: str = "",
) -> Source:
    def look(machine: Machine) -> Offer | None:
        assert machine.root
        if isinstance(answer, SourceError):
            raise answer
        return Offer(name, Path(name), answer, instance_id=instance_id, hostname=hostname)

    return Source(name, lambda _: f"{name} is there", look, needs_network)


NOTHING = Machine(Path("/nonexistent"))


# --- the rules


def test_the_first_document_wins_and_the_rest_is_not_asked() -> None:
    found = find(NOTHING, network=True, order=(source("a", b"1"), source("b", b"2")))
    assert found.offer is not None
    assert (found.offer.document, found.offer.reason) == (b"1", "a is there")
    assert [(one.source, one.outcome, one.reason) for one in found.tried] == [
        ("a", Outcome.USED, "a is there"),
        ("b", Outcome.NOT_ASKED, "a comes before it"),
    ]
    assert (found.failure, found.waiting) == ("", "")


def test_a_failure_is_told_though_another_source_has_a_document() -> None:
    failing = source("a", SourceError("it broke"))
    found = find(NOTHING, network=True, order=(failing, source("b", b"2")))
    assert found.offer is not None
    assert found.offer.document == b"2"
    assert found.failure == "a: it broke"
    assert outcomes(found) == {"a": Outcome.FAILED, "b": Outcome.USED}


def test_a_failure_after_the_winner_does_not_count() -> None:
    failing = source("b", SourceError("it broke"))
    assert find(NOTHING, network=True, order=(source("a", b"1"), failing)).failure == ""


def test_what_needs_the_network_waits_for_it() -> None:
    both = (source("a", b"1", needs_network=True), source("b", b"2"))
    found = find(NOTHING, network=False, order=both)
    assert found.offer is not None
    assert (found.offer.document, found.waiting) == (b"2", "a: a is there")
    found = find(NOTHING, network=True, order=both)
    assert found.offer is not None
    assert (found.offer.document, found.waiting) == (b"1", "")


def test_who_has_no_document_says_who_the_machine_is() -> None:
    first = source("a", None, instance_id="i-1", hostname="a")
    second = source("b", b"2", hostname="b")
    found = find(NOTHING, network=True, order=(first, second))
    assert found.offer == Offer(
        source="b",
        file=Path("b"),
        document=b"2",
        instance_id="i-1",
        hostname="b",
        reason="b is there; who the machine is says a",
    )
    assert outcomes(found) == {"a": Outcome.METADATA, "b": Outcome.USED}
    alone = find(NOTHING, network=True, order=(first,))
    assert alone.offer is not None
    assert (alone.offer.document, alone.offer.instance_id) == (None, "i-1")
    assert alone.offer.reason == "a is there, without a document"


def test_a_source_may_be_gone_when_it_is_looked_at() -> None:
    gone = Source("a", lambda _: "it was there", lambda _: None)
    found = find(NOTHING, network=True, order=(gone,))
    assert found.offer is None
    assert outcomes(found) == {"a": Outcome.ABSENT}


# --- the real order


def test_the_order_is_the_documented_one() -> None:
    assert [source.name for source in order.ORDER] == [
        "credential",
        "fw_cfg",
        "nocloud-disk",
        "config-drive",
        "cloud-config-url",
        "nocloud-net",
        "ec2",
        "gce",
        "openstack",
        "image",
    ]
    documented = (Path(__file__).parents[2] / "docs/cloud-config-sources.md").read_text()
    places = [documented.index(f"| `{source.name}`") for source in order.ORDER]
    assert places == sorted(places)


def test_a_bare_machine_has_no_source(laid: Laid) -> None:
    found = find(laid.machine, network=True)
    assert found.offer is None
    assert set(outcomes(found).values()) == {Outcome.ABSENT}
    assert wants_network(laid.machine) == ""


def test_each_source_on_the_machine_goes_before_the_next(laid: Laid) -> None:
    # The least first: what is added then wins.
    laid.put(BAKED, b"#cloud-config\n#image\n")
    laid.disk("config-2", openstack_files(Instance(b"#config-drive")))
    assert find(laid.machine, network=False).offer is not None
    laid.disk("CIDATA", nocloud_files(Instance(b"#nocloud-disk")))
    winners = [_winner(laid)]
    laid.put("sys/firmware/qemu_fw_cfg/by_name/opt/org.bedplate/config/raw", b"#fw_cfg")
    winners.append(_winner(laid))
    laid.put("run/credentials/@system/cloud-config", b"#credential")
    winners.append(_winner(laid))
    assert winners == ["nocloud-disk", "fw_cfg", "credential"]
    assert laid.mounted == ["config-2", "CIDATA"]


def _winner(laid: Laid) -> str:
    found = find(laid.machine, network=False)
    assert found.offer is not None
    return found.offer.source


def test_a_cloud_without_user_data_runs_what_the_image_has(laid: Laid) -> None:
    laid.put(BAKED, DOCUMENT)
    laid.boot(sys_vendor="Amazon EC2")
    with Server(ec2(Instance(None))) as server:
        laid.metadata = server.url
        found = find(laid.machine, network=True)
    assert found.offer is not None
    assert (found.offer.source, found.offer.document) == ("image", DOCUMENT)
    assert found.offer.instance_id == "i-0123456789abcdef0"
    assert found.offer.public_keys == (KEY,)
    assert found.offer.variables["private_ipv4"] == "10.0.2.15"


def test_before_the_network_the_image_stands_in(laid: Laid) -> None:
    laid.put(BAKED, DOCUMENT)
    laid.boot(sys_vendor="Amazon EC2")
    found = find(laid.machine, network=False)
    assert _winner(laid) == "image"
    assert found.waiting == "ec2: the firmware's sys_vendor is Amazon EC2"
    assert wants_network(laid.machine) == "the firmware's sys_vendor is Amazon EC2"


def test_a_cloud_that_does_not_answer_is_a_failure(laid: Laid) -> None:
    laid.put(BAKED, DOCUMENT)
    laid.boot(product_name="Google Compute Engine")
    found = find(laid.machine, network=True)
    assert _winner(laid) == "image"
    assert "gce: http://127.0.0.1:9/computeMetadata/v1/instance/?...: Connection refused" in (
        found.failure
    )


def test_a_broken_disk_is_a_failure(laid: Laid) -> None:
    laid.put(BAKED, DOCUMENT)
    laid.disk("cidata", {"user-data": DOCUMENT})
    found = find(laid.machine, network=False)
    assert _winner(laid) == "image"
    assert found.failure.startswith("nocloud-disk: meta-data is missing")


def test_what_is_asked_for_by_name_goes_before_what_the_firmware_says(laid: Laid) -> None:
    with (
        Server(openstack(Instance(b"#from openstack"))) as cloud,
        Server(files({"a": b"#from a url"})) as other,
    ):
        laid.metadata = cloud.url
        laid.boot(f"cloud-config-url={other.url}/a", product_name="OpenStack Nova")
        found = find(laid.machine, network=True)
    assert found.offer is not None
    assert found.offer.document == b"#from a url"
    assert not cloud.asked


# --- what speaks for a cloud

FIRMWARE = [
    ("ec2", {"sys_vendor": "Amazon EC2"}),
    ("", {"sys_vendor": "Amazon"}),
    ("ec2", {"product_uuid": "EC2A-1", "product_serial": "ec2a-1"}),
    ("", {"product_uuid": "EC2A-1", "product_serial": "other"}),
    ("", {"product_uuid": "1-ec2", "product_serial": "1-ec2"}),
    ("gce", {"product_name": "Google Compute Engine"}),
    ("gce", {"product_name": "Google"}),
    ("gce", {"product_serial": "GoogleCloud-0123"}),
    ("", {"product_name": "Google Pixelbook"}),
    ("openstack", {"product_name": "OpenStack Nova"}),
    ("openstack", {"product_name": "OpenStack Compute"}),
    ("openstack", {"chassis_asset_tag": "OpenTelekomCloud"}),
    ("openstack", {"chassis_asset_tag": "OpenStack Nova"}),
    ("", {"chassis_asset_tag": "Asset-1"}),
    ("", {"product_name": "Standard PC (Q35 + ICH9, 2009)"}),
]


@pytest.mark.parametrize(("cloud", "firmware"), FIRMWARE)
def test_the_firmware_says_which_cloud_it_is(
    laid: Laid, cloud: str, firmware: dict[str, str]
) -> None:
    laid.boot(**firmware)
    present = [one.name for one in order.ORDER if one.needs_network and one.present(laid.machine)]
    assert present == ([cloud] if cloud else [])


@pytest.mark.parametrize(
    ("name", "behaviour"), [("ec2", ec2), ("gce", gce), ("openstack", openstack)]
)
def test_the_command_line_may_name_the_cloud(
    laid: Laid, name: str, behaviour: Callable[[Instance], Behaviour]
) -> None:
    laid.boot(f"quiet ds={name}")
    with Server(behaviour(Instance(DOCUMENT))) as server:
        laid.metadata = server.url
        found = find(laid.machine, network=True)
    assert found.offer is not None
    assert (found.offer.source, found.offer.reason) == (
        name,
        f"the kernel's command line says ds={name}",
    )


def test_openstack_is_not_asked_for_what_its_drive_has(laid: Laid) -> None:
    laid.boot(product_name="OpenStack Nova")
    laid.disk("config-2", openstack_files(Instance(None)))
    found = find(laid.machine, network=True)
    assert outcomes(found)["config-drive"] is Outcome.METADATA
    assert outcomes(found)["openstack"] is Outcome.ABSENT
    assert wants_network(laid.machine) == ""
