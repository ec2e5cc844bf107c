"""One host and its documents: every family of keys, a change, no trace, a broken one."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import config_disks
import forward_proxy
import tls_server
from builder.vm.config import DEFAULT_UUID, Disk, UserNetwork, mac_address
from builder.vm.wait import wait_until
from faultserver import FaultServer
from forward_proxy import Proxy
from metadata_servers import Answer, Server
from site_of_tests import (
    BOOT_SECONDS,
    Guest,
    Host,
    Site,
    guest_of,
    shared_link,
    tools,
)
from tls_server import Https

_MIB = 1 << 20
_CARD = mac_address(DEFAULT_UUID, 1)
_FETCHED = b"from a server\n"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# The boot is complete, and what comes by the network too.
_CONFIGURED = (
    "systemctl is-active boot-complete.target"
    ' && [ "$(systemctl is-active bedplate-config-network)" = inactive ]'
    " && ! systemctl list-jobs --no-legend | grep bedplate-config-network"
)

FAMILIES = """\
#cloud-config
hostname: node-1
fqdn: node-1.example.org
manage_etc_hosts: true
timezone: Europe/Berlin
users:
  - {{name: web, gecos: Web server, groups: [data]}}
groups: [data]
ssh_authorized_keys:
  - {key}
write_files:
  - path: /etc/app/plain
    owner: web:data
    permissions: 0640
    content: |
      14:00
  - {{path: /etc/app/packed, encoding: gz+b64, content: H4sIAAAAAAAAA8tIzcnJ5wIAIDA6NgYAAAA=}}
  - {{path: /etc/networks, append: true, content: "bench 10.9.8.0\\n"}}
  - {{path: /etc/app/deferred, defer: true, append: true, content: and last}}
  - {{path: /etc/app/deferred, content: "first "}}
  - {{path: /var/lib/app/state, content: kept}}
  - {{path: /etc/app/fetched, source: {{uri: "https://10.0.2.2:{https}/x", sha256: "{sha256}"}}}}
phone_home: {{url: "http://10.0.2.2:{home}/home/$INSTANCE_ID"}}
final_message: configured from $DATASOURCE
ntp:
  servers: [192.0.2.1]
ca_certs:
  trusted:
    - |
      {certificate}
disk_setup:
  /dev/disk/by-id/virtio-disk3: {{layout: [50, 50]}}
fs_setup:
  - {{device: /dev/disk/by-id/virtio-disk3, partition: 1, label: data}}
mounts:
  - [LABEL=data, /var/mnt/data, ext4, "noatime"]
swap: {{filename: /var/swap, size: 64M}}
coreos:
  update: {{group: beta, reboot-strategy: off}}
  flannel: {{etcd-endpoints: "http://192.0.2.2:2379", etcd-password: sesame}}
  units:
    - name: hello.service
      command: start
      content: |
        [Service]
        User=web
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/bin/python3 -IS -c "import os; print('hello by', os.environ['http_proxy'])"
    - name: enabled.service
      enable: true
      content: |
        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/bin/python3 -IS -c "pass"
        [Install]
        WantedBy=multi-user.target
    - {{name: fstrim.timer, mask: true}}
    - name: systemd-timesyncd.service
      drop-ins:
        - {{name: 10-nice.conf, content: "[Service]\\nNice=5"}}
bedplate:
  update: {{server: "{server}"}}
  labels: {{rack: r1}}
  pods:
    - name: web
      manifest: |
        apiVersion: v1
        kind: Pod
        metadata: {{name: web}}
        spec:
          # Nothing is asked of the network for it.
          containers:
            - {{name: web, image: registry.example.org/web, imagePullPolicy: Never}}
  extensions:
    - {{name: greeting, url: "https://10.0.2.2:{https}/greeting", sha256: "{greeting}"}}
  sysctl: {{vm.swappiness: 7}}
  # One that nothing else here loads.
  modules: [ipvlan]
  proxy: {{http: "http://192.0.2.80:3128", https: "{proxy}", no_proxy: [localhost]}}
  registries:
    registry.example.org:
      mirrors: [mirror.example.org/x]
      username: me
      password: sesame
  network:
    version: 2
    dummy-devices:
      lan0:
        addresses: [10.9.8.7/24]
        routes: [{{to: 10.7.0.0/16, via: 10.9.8.1}}]
    ethernets:
      second: {{match: {{macaddress: "{card}"}}, set-name: lan1, optional: true}}
    vlans:
      lan0.5: {{id: 5, link: lan0, addresses: [10.9.5.7/24], optional: true}}
    bonds:
      bond0:
        interfaces: [second]
        parameters: {{mode: active-backup}}
        addresses: [10.9.6.7/24]
        nameservers: {{addresses: [192.0.2.53], search: [example.org]}}
        optional: true
"""
SECOND = """\
#cloud-config
hostname: node-2
bedplate:
  update: {{server: "{server}"}}
"""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the host reaches: files by https and the way to them, and who it calls at home."""

    https: Https
    proxy: Proxy
    home: Server


class Configured:
    """A host whose document stands on a NoCloud disk that it can write itself."""

    def __init__(self, guest: Guest, server: str, outside: Outside) -> None:
        self.guest = guest
        self.outside = outside
        self._server = server

    @property
    def host(self) -> Host:
        return self.guest.host

    def give(self, document: str) -> None:
        """Put another document on the disk."""
        text = document if "{server}" not in document else document.format(server=self._server)
        self.host.check_output(
            "mkdir -p /run/cidata && mount /dev/disk/by-label/CIDATA /run/cidata && "
            f"cat > /run/cidata/user-data <<'END' && umount /run/cidata\n{text}END"
        )

    def reboot(self) -> None:
        self.guest.reboot()
        self.guest.reach(BOOT_SECONDS)
        wait_until(
            lambda: self.guest.ask("cat /run/bedplate/config/status.json") or None,
            BOOT_SECONDS,
            "a status of the configuration",
        )

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(
            self.host.check_output("bedplate-config status --json")
        )
        return found


@pytest.fixture(scope="module")
def configured(
    site: Site,
    server: FaultServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Configured]:
    folder = tmp_path_factory.mktemp("configured")
    extension = site.extension("greeting", "tests/vm/images/greeting.yaml", site.signer())
    greeting = extension.read_bytes()
    with (
        tls_server.serving({"x": _FETCHED, "greeting": greeting}, "10.0.2.2", folder) as https,
        forward_proxy.serving() as proxy,
        Server(lambda _request: Answer()) as home,
    ):
        outside = Outside(https, proxy, home)
        with _booted(site, server, folder, outside, greeting) as guest:
            yield Configured(guest, server.url_for_guest(), outside)


@contextmanager
def _booted(
    site: Site, server: FaultServer, folder: Path, outside: Outside, greeting: bytes
) -> Iterator[Guest]:
    document = FAMILIES.format(
        key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE1hZGVVcEtleUZvclRlc3RzMDAwMDAwMDAwMDAw me",
        certificate=outside.https.certificate.replace("\n", "\n      ").strip(),
        server=server.url_for_guest(),
        https=outside.https.port,
        proxy=outside.proxy.url_for_guest,
        sha256=hashlib.sha256(_FETCHED).hexdigest(),
        greeting=hashlib.sha256(greeting).hexdigest(),
        home=outside.home.port,
        card=_CARD,
    )
    files = {"user-data": document.encode(), "meta-data": b"instance-id: i-1\n"}
    disk = config_disks.vfat(tools(), folder / "cidata.img", "CIDATA", files)
    further = folder / "further.img"
    with further.open("wb") as stream:
        stream.truncate(64 * _MIB)
    image = site.release("1") / "bedplate_1.qcow2"
    with guest_of(
        site,
        folder / "guest",
        image=image,
        disks=(Disk(disk), Disk(further)),
        networks=(UserNetwork(), shared_link()),
    ) as guest:
        guest.reach()
        wait_until(lambda: guest.ask(_CONFIGURED) or None, BOOT_SECONDS, "both stages to be done")
        yield guest


def _content(path: str, words: str) -> Callable[[Host], None]:
    def check(host: Host) -> None:
        assert words in host.check_output(f"cat {path}")

    return check


def _output(command: str, words: str) -> Callable[[Host], None]:
    def check(host: Host) -> None:
        assert words in host.check_output(command)

    return check


EFFECTS: dict[str, Callable[[Host], None]] = {
    "hostname": _output("uname -n", "node-1"),
    "hosts": _content("/etc/hosts", "127.0.1.1 node-1.example.org node-1"),
    "timezone": _output("date +%Z", "CE"),
    "users": _output("id web", "data"),
    "ssh keys": _content("/etc/ssh/authorized_keys.d/root", "ssh-ed25519"),
    "write_files": _output("stat -c '%U:%G %a' /etc/app/plain", "web:data 640"),
    "write_files content": _content("/etc/app/plain", "14:00"),
    "write_files encoding": _content("/etc/app/packed", "hello"),
    "write_files fetched": _content("/etc/app/fetched", "from a server"),
    "extensions": _content("/usr/share/greeting/text", "hello from an extension"),
    "final_message": _output("journalctl -o cat -u bedplate-config*", "configured from nocloud"),
    "write_files appended": _output("grep -c -e loopback -e bench /etc/networks", "2"),
    "write_files deferred": _content("/etc/app/deferred", "first and last"),
    "write_files in var": _content("/var/lib/app/state", "kept"),
    "ntp": _content("/etc/systemd/timesyncd.conf.d/50-bedplate.conf", "192.0.2.1"),
    "disk_setup": _output("lsblk -no SIZE /dev/disk/by-id/virtio-disk3-part2", "M"),
    "mounts": _output("findmnt -no FSTYPE,OPTIONS /var/mnt/data", "ext4"),
    "swap": _content("/proc/swaps", "/var/swap"),
    "update": _output("bedplate-update status --json", '"channel": "beta"'),
    "unit": _output("systemctl show hello.service -p ActiveState,Result", "ActiveState=active"),
    "unit's output": _output("journalctl -u hello.service -o cat", "hello by"),
    "enabled unit": _output("systemctl is-active enabled.service", "active"),
    "masked unit": _output("systemctl show fstrim.timer -p LoadState", "masked"),
    "drop-in": _output("systemctl show systemd-timesyncd.service -p Nice", "Nice=5"),
    "labels": _content("/etc/bedplate/labels.json", "r1"),
    "pods": _content("/etc/bedplate/pods/web.yaml", "registry.example.org/web"),
    "sysctl": _content("/proc/sys/vm/swappiness", "7"),
    "modules": _content("/proc/modules", "ipvlan "),
    "proxy": _output("systemctl show-environment", "no_proxy=localhost"),
    "proxy of a unit": _output("journalctl -u hello.service -o cat", "by http://192.0.2.80:3128"),
    "registries": _content("/etc/containers/registries.conf.d/50-bedplate.conf", "mirror.example"),
    "static address": _output("ip -4 addr show lan0", "10.9.8.7/24"),
    "route": _output("ip route", "10.7.0.0/16 via 10.9.8.1"),
    "vlan": _output("ip -d addr show lan0.5", "vlan protocol 802.1Q id 5"),
    "bond": _output("ip -d addr show bond0", "mode active-backup"),
    "a card's name": _output("ip link show lan1", "master bond0"),
    "dns": _content("/run/systemd/resolve/resolv.conf", "192.0.2.53"),
    "dhcp": _output("ip -4 addr", "10.0.2.15"),
}


@pytest.mark.parametrize("family", EFFECTS)
def test_a_family_of_keys_has_its_effect(configured: Configured, family: str) -> None:
    EFFECTS[family](configured.host)


def test_the_status_says_where_the_document_came_from(configured: Configured) -> None:
    status = configured.status()
    assert status["in_force"] == "document"
    assert status["source"] == "nocloud-disk"
    assert status["instance_id"] == "i-1"
    assert status["faults"] == []


def test_the_host_has_called_home_once(configured: Configured) -> None:
    assert configured.outside.home.paths == ["/home/i-1"]


def test_an_authority_of_the_document_is_trusted_beside_the_images(configured: Configured) -> None:
    bundle = configured.host.file(_BUNDLE).content_string
    assert configured.outside.https.certificate in bundle
    assert bundle.count("-----BEGIN CERTIFICATE-----") > 100


def test_what_is_fetched_comes_by_the_proxy(configured: Configured) -> None:
    outside = configured.outside
    assert set(outside.proxy.asked) == {f"CONNECT 10.0.2.2:{outside.https.port}"}
    assert len(outside.proxy.asked) >= 2


def test_no_secret_is_in_the_journal_or_in_a_file_that_others_read(configured: Configured) -> None:
    assert configured.host.run("journalctl -o cat | grep -c sesame").stdout.strip() == "0"
    found = configured.host.run(
        "grep -rl sesame /etc /run/bedplate /run/containers /var/lib/bedplate"
    ).stdout.split()
    assert found
    for path in found:
        assert configured.host.check_output(f"stat -c %a {path}").endswith("600"), path


def test_nothing_is_left_to_change(configured: Configured) -> None:
    assert "nothing to change" in configured.host.check_output("bedplate-config plan")


def test_another_document_at_run_time_changes_what_differs(configured: Configured) -> None:
    text = "#cloud-config\nhostname: node-1b\nbedplate: {update: {server: 'http://192.0.2.9'}}\n"
    configured.give(text)
    planned = configured.host.check_output("bedplate-config plan")
    assert "    +node-1b" in planned
    assert "stop hello.service" in planned
    shown = configured.host.check_output("bedplate-config apply")
    assert "    +node-1b" in shown
    assert configured.host.check_output("uname -n") == "node-1b"
    assert configured.host.run("systemctl is-active hello.service").rc != 0
    assert configured.host.run("test -e /etc/app").rc != 0
    assert "_proxy" not in configured.host.check_output("systemctl show-environment")
    assert "nothing to change" in configured.host.check_output("bedplate-config plan")


def test_another_document_leaves_no_trace_of_the_old_one(configured: Configured) -> None:
    configured.give(SECOND)
    configured.reboot()
    assert configured.host.check_output("uname -n") == "node-2"
    for path in ("/etc/app", "/var/lib/app", "/etc/systemd/system/hello.service"):
        assert configured.host.run(f"test -e {path}").rc != 0, path
    for command in (
        *("ip link show lan0", "id web", "grep -q /var/swap /proc/swaps"),
        *("grep -q ^ipvlan /proc/modules", "grep -q bench /etc/networks"),
    ):
        assert configured.host.run(command).rc != 0, command
    bundle = configured.host.file(_BUNDLE).content_string
    assert configured.outside.https.certificate not in bundle
    assert "hello" not in configured.host.check_output("journalctl -b -o cat -u hello.service")


def test_the_next_boot_has_it_again(configured: Configured) -> None:
    configured.reboot()
    assert configured.host.check_output("uname -n") == "node-2"
    assert configured.status()["faults"] == []
    assert configured.host.run("test -e /var/lib/bedplate/config/compiled.json").rc == 0


def test_a_broken_document_leaves_the_last_good_one_in_force(configured: Configured) -> None:
    configured.give("#cloud-config\nhostnam: node-3\n")
    mark = configured.guest.machine.console_size()
    configured.reboot()
    status = configured.status()
    assert status["in_force"] == "last good document"
    assert "did you mean 'hostname'?" in str(status["faults"])
    assert configured.host.check_output("uname -n") == "node-2"
    metrics = configured.host.check_output("cat /run/bedplate/metrics/config.prom")
    assert "bedplate_config_good 0" in metrics
    configured.guest.machine.wait_for_console(
        r"config +last good document; fault", BOOT_SECONDS, since=mark
    )
    active = "systemctl is-active boot-complete.target"
    wait_until(lambda: configured.guest.ask(active) or None, BOOT_SECONDS, "a complete boot")
