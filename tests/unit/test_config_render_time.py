"""The time zone and the time servers."""

from pathlib import Path, PurePosixPath

import pytest

from cloudconfig.desired import Affects, Command, Desired, File, Link
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render import time
from cloudconfig.render.errors import RenderError
from cloudconfig.verbs import UnitCommand
from hostkit.document.source import DocumentError

UNIT = "systemd-timesyncd.service"


def rendered(body: str, facts: Facts | None = None) -> Desired:
    found = read_document(f"#cloud-config\n{body}\n".encode(), Path("c.yaml"))
    return time.render(found.config, facts or Facts())


def test_nothing_said_is_nothing_done() -> None:
    assert rendered("") == Desired()


@pytest.mark.parametrize("zones", [None, frozenset({"UTC", "Europe/Berlin"})])
def test_a_time_zone_is_a_link(zones: frozenset[str] | None) -> None:
    assert rendered("timezone: Europe/Berlin", Facts(time_zones=zones)).items == (
        Link(PurePosixPath("/etc/localtime"), "../usr/share/zoneinfo/Europe/Berlin"),
    )


def test_a_time_zone_that_the_image_lacks_is_refused_with_the_nearest() -> None:
    facts = Facts(time_zones=frozenset({"UTC", "Europe/Berlin"}))
    with pytest.raises(RenderError) as caught:
        rendered("timezone: Europe/Berln", facts)
    assert str(caught.value) == (
        "timezone: the image has no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"
    )


@pytest.mark.parametrize("zone", ["../etc/passwd", "Europe/../../x", "/etc", '"a\\nb"'])
def test_a_time_zone_is_no_path(zone: str) -> None:
    with pytest.raises(DocumentError, match="is not a time zone"):
        rendered(f"timezone: {zone}")


def test_servers_and_pools_are_asked_once_each() -> None:
    desired = rendered("ntp: {servers: [a.example, '2001:db8::1'], pools: [b.example, a.example]}")
    path = PurePosixPath("/etc/systemd/timesyncd.conf.d/50-bedplate.conf")
    content = b"[Time]\nNTP=a.example 2001:db8::1 b.example\n"
    assert desired == Desired(items=(File(path, content, affects=(Affects(UNIT),)),))


def test_without_servers_those_of_dhcp_stay() -> None:
    assert rendered("ntp: {enabled: true}") == Desired()


def test_no_ntp_masks_the_service() -> None:
    assert rendered("ntp: {enabled: false, servers: [a.example]}") == Desired(
        items=(Link(PurePosixPath(f"/etc/systemd/system/{UNIT}"), "/dev/null"),),
        commands=(Command(UNIT, UnitCommand.STOP),),
    )


@pytest.mark.parametrize("server", ['"a\\nb"', "'a b'", "a;b"])
def test_a_server_is_one_word(server: str) -> None:
    with pytest.raises(DocumentError, match="is not a time server"):
        rendered(f"ntp: {{servers: [{server}]}}")
