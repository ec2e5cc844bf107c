"""The overlay's units: what an image installs of them, and what they promise to other units."""

import re
from pathlib import Path

DIST = Path(__file__).parents[2] / "cloud-config/dist"
SERVICE = (DIST / "bedplate-overlay.service").read_text()
PATH = (DIST / "bedplate-overlay.path").read_text()


def values(unit: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit, re.MULTILINE)


def test_only_our_program_is_started() -> None:
    assert re.findall(r"^Exec\w+=(\S+)", SERVICE, re.MULTILINE) == ["/usr/bin/bedplate-overlayd"]


def test_both_look_for_what_the_cloud_config_writes() -> None:
    assert values(SERVICE, "ConditionPathExists") == ["/etc/bedplate/overlay.json"]
    assert values(PATH, "PathExists") == ["/etc/bedplate/overlay.json"]


def test_others_can_wait_for_the_subnet_however_long_etcd_is_away() -> None:
    assert values(SERVICE, "Type") == ["notify"]
    assert values(SERVICE, "TimeoutStartSec") == ["infinity"]
    assert values(SERVICE, "StartLimitIntervalSec") == ["0"]


def test_no_target_wants_the_service_itself() -> None:
    # A target waits for what it wants, and a boot must not wait for etcd: the path starts it.
    assert "[Install]" not in SERVICE
    assert values(PATH, "WantedBy") == ["multi-user.target"]


def test_what_it_writes_is_writable() -> None:
    assert values(SERVICE, "ProtectSystem") == ["strict"]
    assert values(SERVICE, "ConfigurationDirectory") == ["containers/networks"]
    assert values(SERVICE, "ReadWritePaths") == ["-/run"]
    assert values(SERVICE, "RuntimeDirectory") == ["bedplate flannel"]
    assert values(SERVICE, "RuntimeDirectoryPreserve") == ["yes"]


def test_it_changes_the_network_and_little_else() -> None:
    (capabilities,) = values(SERVICE, "CapabilityBoundingSet")
    assert capabilities.split() == ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE"]
    (families,) = values(SERVICE, "RestrictAddressFamilies")
    assert "AF_NETLINK" in families
    assert "AF_PACKET" not in families
