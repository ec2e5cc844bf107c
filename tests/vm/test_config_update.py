"""How a host updates, in CoreOS's words and ours: by a proxy, slowly, in a window, with the lock.

It goes by itself from release 1 to 2; each test is the next part of the way.
"""

import json
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from builder.vm.config import Forward, UserNetwork
from builder.vm.wait import wait_until
from faultserver import FaultServer
from hostkit.etcd import Access, Client, Limits, Unavailable
from rebootlock.manager import Manager
from rebootlock.semaphore import Holder
from site_of_tests import BOOT_SECONDS, UPDATE_SECONDS, Guest, Site, guest_of

pytestmark = pytest.mark.thorough

_SERVER = "http://updates.example.invalid"  # nobody's name (RFC 2606): the proxy alone knows it
_BANDWIDTH = 512 << 10  # bytes/s
_ETCD_PORT = 2379
_PATIENT = Limits(connect_seconds=20, call_seconds=60)
_TIMESTAMP = r"/timestamp\.json"
_DOCUMENT = """\
#cloud-config
hostname: node-1
ntp: {{enabled: false}}
coreos:
  update: {{group: stable, reboot-strategy: etcd-lock}}
  locksmith:
    endpoint: http://127.0.0.1:2379
    group: web
    window-start: {start:%a %H:%M}
    window-length: 1h
bedplate:
  update:
    server: {server}
    proxy: {proxy}
    bandwidth: {bandwidth}
    interval: 20s
    jitter: 0s
  etcd:
    listen_client_urls: http://127.0.0.1:2379,http://10.0.2.15:2379
    advertise_client_urls: http://127.0.0.1:2379
    heartbeat_interval: 1000
    election_timeout: 20000
"""


@dataclass(frozen=True, slots=True)
class Updating:
    """A host that looks for releases, and when it may reboot into one."""

    guest: Guest
    start: datetime

    def state(self) -> str:
        """Where its update is, as it published it; empty while it is down."""
        return str((self.guest.published_status() or {}).get("state", ""))

    def holders(self) -> tuple[Holder, ...] | None:
        """Who has the reboot lock of its group; None while its etcd does not say."""
        url = f"http://127.0.0.1:{self.guest.machine.port(_ETCD_PORT)}"
        with closing(Client(Access((url,)), limits=_PATIENT)) as client, suppress(Unavailable):
            return Manager(client, "web").look().holders
        return None

    def lock(self) -> dict[str, object]:
        """The same lock as the host itself sees it."""
        text = self.guest.host.check_output("bedplate-lock status --json")
        found: dict[str, object] = json.loads(text)
        return found


@pytest.fixture(scope="module")
def updating(
    site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Updating]:
    folder = tmp_path_factory.mktemp("updating")
    start = datetime.now(UTC) + timedelta(hours=6)
    server.set_folder(site.repository(folder / "nothing"))
    server.forget()
    document = _DOCUMENT.format(
        start=start, server=_SERVER, proxy=server.url_for_guest(), bandwidth=_BANDWIDTH
    )
    with guest_of(
        site,
        folder / "host",
        image=site.release("1") / "bedplate_1.qcow2",
        extension=site.extension_disk("cluster", site.signer(), "images/etcd.yaml"),
        networks=(UserNetwork((Forward(22), Forward(_ETCD_PORT))),),
        document=document,
    ) as guest:
        guest.wait_until_good("1")
        yield Updating(guest, start)


def test_releases_are_looked_for_by_the_proxy(updating: Updating, server: FaultServer) -> None:
    asked = wait_until(
        lambda: server.requests(_TIMESTAMP) or None, UPDATE_SECONDS, "a look at the repository"
    )
    assert all(each.path.startswith(f"{_SERVER}/metadata/") for each in asked), asked
    assert updating.guest.status()["channel"] == "stable"


def test_a_release_comes_no_faster_than_it_may(
    updating: Updating, site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    release = site.release("2")
    server.set_folder(site.repository(tmp_path_factory.mktemp("offer") / "repository", release))
    wait_until(lambda: updating.state() == "staged" or None, UPDATE_SECONDS, "a staged release")
    (uki,) = server.requests(r"\.efi")
    assert uki.sent == (release / "bedplate.efi").stat().st_size
    # Of what the server has given away some is under way, in buffers.
    assert uki.seconds > uki.sent / _BANDWIDTH / 3


def test_a_staged_release_waits_for_locksmiths_window(
    updating: Updating, server: FaultServer
) -> None:
    server.forget()
    # The second look is after the first one's turn has come to its end.
    wait_until(
        lambda: len(server.requests(_TIMESTAMP)) > 1 or None, UPDATE_SECONDS, "two more looks"
    )
    assert updating.state() == "staged"
    assert updating.guest.host.run("systemctl is-active bedplate-reboot-locked").rc != 0
    assert updating.holders() == ()


def test_in_the_window_it_reboots_with_locksmiths_lock(updating: Updating) -> None:
    guest = updating.guest
    inside = updating.start + timedelta(minutes=30)
    guest.machine.monitor.forget_events()
    guest.host.check_output(f"date -s @{inside.timestamp():.0f}")
    (holder,) = wait_until(lambda: updating.holders() or None, UPDATE_SECONDS, "the lock's holder")
    assert (holder.hostname, holder.version) == ("node-1", "2")
    guest.machine.wait_for_reboot(BOOT_SECONDS)
    guest.wait_until_good("2")
    wait_until(lambda: updating.holders() == () or None, BOOT_SECONDS, "the lock to be given back")
    shown = updating.lock()
    assert (shown["group"], shown["max"], shown["available"]) == ("web", 1, 1)
