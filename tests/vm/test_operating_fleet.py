"""Two hosts without a login, operated as a fleet: found by labels, updated in turn, one wiped."""

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_interface
from pathlib import Path

import pytest

import operated_fleet
from builder.run import CommandError
from builder.vm.wait import wait_until
from cluster import SECONDS
from faultserver import FaultServer
from hostkit.etcd import Unavailable
from operated_fleet import SUBNETS, Fleet, Host, wait_until_together
from podagent.cluster.records import host_key
from rebootlock.semaphore import Semaphore, decode, semaphore_key
from site_of_tests import BOOT_SECONDS, UPDATE_SECONDS, Site

pytestmark = pytest.mark.thorough

_KEY = "/var/lib/bedplate/api/host.pem"
_MARKER = "/var/lib/marker"

# As `bedplate-lock reboot` takes it, which first wants a staged release.
_TAKE_LOCK = """\
import sys
sys.path.append("/usr/lib/python3/dist-packages")
from rebootlock.host import Host
from rebootlock.places import Places
from rebootlock.telling import Telling
held, _ = Host(Places(), Telling(Places(), waits=True)).take()
sys.exit(not held)
"""


@pytest.fixture(scope="module")
def repository(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that offers what the hosts run: they are to look often, and find nothing."""
    return site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("1"))


@pytest.fixture(scope="module")
def fleet(
    site: Site, server: FaultServer, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """Both hosts, once etcd knows of them."""
    folder = tmp_path_factory.mktemp("fleet")
    server.set_folder(repository)
    with operated_fleet.running(site, folder, server.url_for_guest()) as found:
        _wait_until_known(found)
        yield found


def _wait_until_known(fleet: Fleet) -> None:
    names = {each.name for each in fleet.nodes}

    def known() -> bool | None:
        hosts = json.loads(fleet.command("get", "hosts", "--json"))["hosts"]
        return True if {each["name"] for each in hosts if each["addresses"]} == names else None

    wait_until(known, SECONDS, "both hosts in etcd", interval=2)


def test_hosts_are_found_by_their_labels(fleet: Fleet) -> None:
    """One line a host and a sum; none is asked that has other labels."""
    *lines, total = fleet.labelled("row=a", "status").splitlines()
    assert total == "2 hosts: 2 ok"
    told = dict(line.split(maxsplit=1) for line in lines)
    assert set(told) == {"node-1", "node-2"}
    assert all(line.startswith("good, 1 (slot a), ") for line in told.values()), told
    line, total = fleet.labelled("row=a,rack=r2", "status").splitlines()
    assert line.startswith("node-2  good, ")
    assert total == "1 host: 1 ok"
    with pytest.raises(CommandError, match="no host in etcd has the labels row=b"):
        fleet.labelled("row=b", "status")


def test_one_host_that_does_not_answer_fails_the_whole(fleet: Fleet) -> None:
    second = fleet.nodes[1]
    # The path's unit would open the socket again.
    units = "bedplate-api.path bedplate-api.socket bedplate-api.service"
    second.guest.host.check_output(f"systemctl stop {units}")
    try:
        with pytest.raises(CommandError, match="ended with 1") as caught:
            fleet.labelled("row=a", "status")
    finally:
        second.guest.host.check_output("systemctl start bedplate-api.path")
    assert "node-2  failed: " in str(caught.value)
    assert "node-1  good, " in str(caught.value)
    assert "2 hosts: 1 ok, 1 failed" in str(caught.value)
    second.wait_until_up()


def test_a_host_shows_its_lease_and_its_peer(fleet: Fleet) -> None:
    subnets = {each: str(ip_interface(each.subnet()).network) for each in fleet.nodes}
    for mine, other in (fleet.nodes, reversed(fleet.nodes)):
        found = mine.answer("overlay")
        assert found["state"] == "ready", found
        assert found["lease"]["subnets"] == [subnets[mine]]
        assert [each["subnets"] for each in found["peers"]] == [[subnets[other]]]
        assert [each["public"] for each in found["peers"]] == [[other.address]]
        assert not found["peers"][0]["problem"]
        shown = mine.ask("overlay")
        assert subnets[mine] in shown
        assert other.address in shown


def test_both_are_updated_and_one_at_a_time_is_down(
    fleet: Fleet, site: Site, repository: Path
) -> None:
    """Nobody may, until both want to: so that they do at the same time."""
    with fleet.etcd() as client:
        before = client.list(semaphore_key("")).revision
    fleet.command("lock", "set-max", "0")
    site.offer(repository, site.release("2"))
    for host in fleet.nodes:
        _wait_for_decision(host, "its maximum is 0")
    lines = fleet.labelled("row=a", "update").splitlines()
    assert sum("staged: version 2; waiting for the reboot lock" in line for line in lines) == 2
    assert {each.answer("status")["host"]["version"] for each in fleet.nodes} == {"1"}

    fleet.command("lock", "set-max", "1")
    shown = wait_until(
        lambda: _shown_holders(fleet), SECONDS, "a host with the reboot lock", interval=1
    )
    assert [each["version"] for each in shown] == ["2"]
    assert shown[0]["host"] in {"node-1", "node-2"}
    wait_until(lambda: _through(fleet), 2 * BOOT_SECONDS, "both on release 2", interval=5)
    wait_until_together(fleet.nodes, "2")

    standings = [each.holders for each in _history(fleet, before)]
    assert all(len(each) <= 1 for each in standings), standings
    held = [each[0] for each in standings if each]
    assert sorted(held) == sorted(map(_machine_id, fleet.nodes))
    assert standings[-1] == ()
    (one_down, one_up), (other_down, other_up) = sorted(map(_away, fleet.nodes))
    assert one_down < one_up < other_down < other_up


def _wait_for_decision(host: Host, words: str) -> None:
    def decided() -> bool | None:
        state, decision = host.update()
        return True if state == "staged" and words in decision else None

    wait_until(decided, UPDATE_SECONDS, f"{words!r} of {host.name}", interval=1)


def _shown_holders(fleet: Fleet) -> list[dict[str, str]] | None:
    """Who holds the lock, as `bedplate fleet lock status` tells it; etcd may be on its way down."""
    try:
        (lock,) = json.loads(fleet.command("lock", "status", "--json"))["locks"]
    except CommandError:
        return None
    assert lock["max"] - lock["available"] <= 1
    return lock["holders"] or None


def _through(fleet: Fleet) -> bool | None:
    """Whether both are good on release 2 and nobody holds the lock, as far as they answer."""
    try:
        found = [each.answer("status") for each in fleet.nodes]
        holders = fleet.lock().holders
    except (CommandError, Unavailable):
        return None
    runs = {(each["host"]["version"], each["health"]["state"]) for each in found}
    return True if runs == {("2", "good")} and not holders else None


def _history(fleet: Fleet, after: int) -> list[Semaphore]:
    """Every value that the lock has had since a revision of etcd."""
    key = semaphore_key("")
    found = []
    with fleet.etcd() as client:
        newest = client.get(key)
        assert newest is not None
        with client.watch(key, after=after) as watch:
            for change in watch:
                found.append(decode(change.value or b"", key))
                if change.revision >= newest.mod_revision:
                    break
    return found


def _machine_id(host: Host) -> str:
    return host.guest.host.file("/etc/machine-id").content_string.strip()


def _away(host: Host) -> tuple[str, str]:
    """From when to when nothing of a host ran: RFC 3339 in UTC, which sort as they are."""
    boots = {each["index"]: each for each in host.answer("boots")["boots"]}
    return boots[-1]["last"], boots[0]["first"]


def test_a_wiped_host_gives_back_what_the_cluster_lent(fleet: Fleet) -> None:
    """The last test: it is nobody to its operator then, for its token is spent."""
    first, second = fleet.nodes
    host, machine = second.guest.host, second.guest.machine
    subnet = str(ip_interface(second.subnet()).network)
    lent = (SUBNETS + subnet.replace("/", "-"), host_key(second.name))
    boot = first.answer("status")["host"]["boot_id"]
    host.check_output(f"test -e {_KEY} && echo kept > {_MARKER} && sync")
    host.check_output(f"python3 -IS -c '{_TAKE_LOCK}'")
    assert [each.hostname for each in fleet.lock().holders] == [second.name]
    assert _there(fleet, lent) == list(lent)

    machine.monitor.forget_events()
    assert "draining" in second.ask("wipe", second.name, "--yes-wipe", second.name)
    machine.wait_for_reboot(BOOT_SECONDS)
    # Nothing of the host runs in this moment: it did so itself, before.
    assert fleet.lock().holders == ()
    assert _there(fleet, lent) == []
    _wait_for_peers(first, 0)

    again = second.guest.wait_until_good("2")
    assert again.run(f"test -e {_MARKER}").rc == 1
    assert again.run(f"test -e {_KEY}").rc == 1
    with pytest.raises(CommandError, match="ended with 1"):
        second.ask("status")
    second.wait_until_joined()
    _wait_for_peers(first, 1)
    found = first.answer("status")
    assert found["host"]["boot_id"] == boot
    assert found["health"]["state"] == "good"
    assert found["agents"]["overlay"]["state"] == "ready"


def _wait_for_peers(host: Host, number: int) -> None:
    def seen() -> bool | None:
        return len(host.answer("overlay")["peers"]) == number or None

    wait_until(seen, SECONDS, f"{number} peers of {host.name}", interval=1)


def _there(fleet: Fleet, keys: Sequence[str]) -> list[str]:
    """Which of these keys etcd has."""
    with fleet.etcd() as client:
        return [each for each in keys if client.get(each) is not None]
