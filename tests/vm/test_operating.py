"""A host without a login, operated by its API: the twenty tasks, and who may not."""

import hashlib
import json
import shutil
import socket
import ssl
import tarfile
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zstandard

import image_registry
from builder.run import CommandError
from builder.serve import serving
from builder.vm.config import Forward, UserNetwork
from builder.vm.wait import wait_until
from faultserver import FaultServer
from hostapi.port import PORT
from image_registry import PASSWORD, USER, busybox
from operated import REBOOT, SECONDS, Operated, sourcing
from site_of_tests import BOOT_SECONDS, PASSPHRASE, Guest, Site, guest_of, keep_figures
from workstation import Workstation

pytestmark = pytest.mark.thorough

_NAME = "api-1"
_SECRET = "hunter2-and-no-more"  # noqa: S105 - to be looked for where it must not be
_FOLLOWERS = 20
_DOCUMENT = """\
  update: {{server: "{updates}", channel: stable, strategy: "off", interval: 7d}}
  registries:
    registry.example.invalid: {{mirrors: ["{registry}/mirror"]}}
    "{registry}": {{username: {user}, password: {password}}}
  pods:
    - name: web
      manifest: |
        apiVersion: v1
        kind: Pod
        metadata: {{name: web}}
        spec:
          containers:
            - name: main
              image: registry.example.invalid/web:1
              command: [sh, -c, "echo said by the pod; exec sleep 100000"]
write_files:
  - {{path: /etc/secret, content: {secret}, permissions: "0600"}}
ca_certs:
  trusted:
    - |
{certificate}
"""


@pytest.fixture(scope="module")
def operated(
    site: Site, server: FaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operated]:
    """A good host of release 1 that has enrolled by itself, and runs a pod."""
    folder = tmp_path_factory.mktemp("host")
    # Not another test's: the host looks there by itself, and goes back to no older metadata.
    server.set_folder(site.blank)
    workstation = Workstation.make(folder / "pki")
    with ExitStack() as stack:
        url = stack.enter_context(workstation.issuing())
        registry = stack.enter_context(image_registry.serving(folder / "registry"))
        registry.push(busybox(said="web"), "mirror/web", "1")
        document = workstation.document_of(_NAME, url, "10.0.2.15") + _DOCUMENT.format(
            updates=server.url_for_guest(),
            registry=registry.name,
            user=USER,
            password=PASSWORD,
            secret=_SECRET,
            certificate=textwrap.indent(registry.certificate, " " * 6),
        )
        path = folder / "document.yaml"
        path.write_text(document)
        firmware = stack.enter_context(sourcing(path))
        guest = stack.enter_context(
            guest_of(
                site,
                folder / "one",
                image=site.release("1") / "bedplate_1.qcow2",
                networks=(UserNetwork((Forward(22), Forward(PORT))),),
                firmware=firmware,
            )
        )
        guest.wait_until_good("1")
        found = Operated(_NAME, guest, workstation, path)
        found.wait_until_up()
        yield found


@pytest.fixture(scope="module")
def offer(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that offers release 2."""
    return site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("2"))


def test_a_reader_sees_how_the_host_is(operated: Operated) -> None:
    found = operated.answer("status", who="eve")
    assert found["host"]["name"] == _NAME
    assert found["host"]["version"] == "1"
    assert found["health"]["state"] == "good"
    assert found["agents"]["config"]["faults"] == []
    assert "10.0.2.15" in found["host"]["addresses"]
    assert "good" in operated.ask("status")


def test_the_console_has_the_address_and_the_fingerprint(operated: Operated) -> None:
    fingerprint = operated.answer("certificate")["certificate"]["fingerprint"]
    note = operated.guest.host.file("/run/bedplate/notes/api").content_string
    assert f"https://10.0.2.15:{PORT}" in note
    assert fingerprint.removeprefix("SHA256:")[:23] in note


def test_readers_and_strangers_change_nothing(operated: Operated, tmp_path: Path) -> None:
    before = operated.answer("status")["host"]["boot_id"]
    with pytest.raises(CommandError, match="operator"):
        operated.ask("reboot", who="eve")
    stranger = Workstation.make(tmp_path / "other")
    with pytest.raises(CommandError, match="certificate"):
        stranger.host(
            operated.guest,
            _NAME,
            "status",
            "--ca-file",
            str(operated.workstation.folder / "ca.pem"),
        )
    with pytest.raises(CommandError, match="certificate"):
        stranger.host(operated.guest, _NAME, "status")
    assert operated.answer("status")["host"]["boot_id"] == before
    log = operated.guest.host.check_output("journalctl -u bedplate-api --no-pager -o cat")
    assert "eve" in log
    assert "reboot" in log


def test_a_revoked_certificate_is_none(operated: Operated) -> None:
    """As if the document had brought a newer list."""
    operated.workstation.pki("issue", "reader", "mallory")
    assert operated.ask("status", who="mallory")
    operated.workstation.pki("revoke", "mallory")
    revoked = (operated.workstation.folder / "crl.pem").read_text()
    host = operated.guest.host
    host.check_output(f"printf %s '{revoked}' > /etc/bedplate/api/revoked.pem")
    host.check_output("systemctl start bedplate-api-certificate.service")

    def refused() -> bool | None:
        try:
            operated.ask("status", who="mallory")
        except CommandError as error:
            return "certificate" in str(error) or None
        return None

    wait_until(refused, SECONDS, "the revoked certificate's end")
    assert operated.ask("status", who="eve")


def test_logs_of_a_unit_and_of_the_boots(operated: Operated) -> None:
    lines = operated.ask("logs", "--unit", "bedplate-updated", "--lines", "5").splitlines()
    assert lines
    assert all("bedplate-updated" in line for line in lines)
    (boot,) = operated.answer("boots")["boots"]
    kernel = operated.guest.host.check_output("cat /proc/sys/kernel/random/boot_id")
    assert boot["boot_id"].replace("-", "") == kernel.replace("-", "")
    with pytest.raises(CommandError):
        operated.ask("logs", "--boot", "-1")


def test_logs_of_a_pod(operated: Operated) -> None:
    def said() -> bool | None:
        return "said by the pod" in operated.ask("logs", "--pod", "web") or None

    wait_until(said, SECONDS, "the pod's line")
    assert operated.answer("pods")["pods"]


def test_timings_and_metrics(operated: Operated) -> None:
    found = operated.answer("timings")
    assert found["total"] > 0
    assert {"var.mount"} <= {each["unit"] for each in found["units"]}
    metrics = operated.ask("metrics", who="eve")
    assert 'bedplate_info{slot="a",version="1"} 1' in metrics.replace(
        'version="1",slot="a"', 'slot="a",version="1"'
    )
    assert metrics.count("# TYPE bedplate_info ") == 1


def test_a_host_without_an_overlay_says_so(operated: Operated) -> None:
    with pytest.raises(CommandError, match="overlay"):
        operated.ask("overlay")


def test_the_configuration_without_its_secrets(operated: Operated, tmp_path: Path) -> None:
    shown = operated.ask("config")
    assert _NAME in shown
    assert _SECRET not in shown
    assert PASSWORD not in shown
    other = tmp_path / "other.yaml"
    other.write_text(operated.document.read_text() + "timezone: Europe/Berlin\n")
    plan = operated.ask("config", "plan", str(other))
    assert "/etc/localtime" in plan
    assert _SECRET not in plan
    with pytest.raises(CommandError, match=r"\+timezone: Europe/Berlin"):
        operated.ask("config", "diff", str(other))
    assert not operated.guest.ask("readlink /etc/localtime").strip().endswith("Berlin")
    other.write_text("#cloud-config\nhostnam: x\n")
    with pytest.raises(CommandError, match="2:1"):
        operated.ask("config", "plan", str(other))


def test_trust(operated: Operated) -> None:
    roles = {each["role"]: each for each in operated.answer("trust")["roles"]}
    assert {"root", "timestamp", "snapshot", "targets"} <= set(roles)


def test_a_certificate_is_renewed_without_a_gap(operated: Operated) -> None:
    before = operated.answer("certificate")["certificate"]
    operated.ask("certificate", "renew")

    def renewed() -> bool | None:
        try:
            found = operated.answer("certificate")["certificate"]
        except CommandError as error:
            raise AssertionError("a gap") from error
        return True if found["fingerprint"] != before["fingerprint"] else None

    wait_until(renewed, SECONDS, "the new certificate")


def test_an_extension_until_the_next_boot(operated: Operated, site: Site) -> None:
    image = site.extension("greeting", "tests/vm/images/greeting.yaml", site.signer())
    digest = operated.workstation.folder.parent / "extensions"
    digest.mkdir()
    (digest / "greeting.raw").write_bytes(image.read_bytes())
    with serving(digest) as web:
        url = web.url.replace("127.0.0.1", "10.0.2.2") + "/greeting.raw"
        found = hashlib.sha256(image.read_bytes()).hexdigest()
        operated.ask("extension", "add", "greeting", url, found)
        listed = {each["name"]: each for each in operated.answer("extension", "list")["extensions"]}
        assert listed["greeting"]["state"] == "merged"
        assert listed["developer"]["source"] == "disk"
        assert operated.guest.host.run("test -e /usr/share/greeting/text").rc == 0
        operated.ask("extension", "remove", "greeting")
        assert operated.guest.host.run("test -e /usr/share/greeting/text").rc == 1
        foreign = site.extension("foreign", "tests/vm/images/greeting.yaml", None)
        (digest / "greeting.raw").write_bytes(foreign.read_bytes())
        found = hashlib.sha256(foreign.read_bytes()).hexdigest()
        with pytest.raises(CommandError):
            operated.ask("extension", "add", "greeting", url, found)
    assert operated.guest.ask("echo still here")


def test_followers_cost_little(operated: Operated) -> None:
    """20 clients that follow at once, and a log that goes on."""
    before = _anonymous(operated.guest)
    with ExitStack() as stack:
        streams = [stack.enter_context(_follow(operated)) for _ in range(_FOLLOWERS)]
        for stream in streams:
            assert stream.recv(20).startswith(b"HTTP/1.1 200")
        operated.guest.host.check_output(
            "for i in $(seq 200); do echo line $i; done | systemd-run --quiet --pipe --wait"
            " systemd-cat 2>/dev/null || true"
        )
        during = _anonymous(operated.guest)
    keep_figures(api_memory_bytes=before, api_memory_followed_bytes=during)
    assert before < 48 << 20
    assert during < 64 << 20


def test_two_hundred_connections_at_once(operated: Operated) -> None:
    """Half of them say nothing, half speak no TLS; who has a certificate is served meanwhile."""
    with ExitStack() as stack:
        for number in range(200):
            client = stack.enter_context(socket.socket())
            client.settimeout(30)
            client.connect(("127.0.0.1", operated.guest.machine.port(PORT)))
            if number % 2:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        operated.wait_until_up()
    assert operated.answer("status")["health"]["state"] == "good"


def test_many_hosts_at_once(operated: Operated, tmp_path: Path) -> None:
    """One that answers, and one that nobody is."""
    hosts = tmp_path / "hosts.txt"
    here = f"127.0.0.1:{operated.guest.machine.port(PORT)} {_NAME}\n"
    hosts.write_text(f"# those of the test\n{here}")
    assert "1 host: 1 ok" in operated.workstation.many(hosts, "status")
    hosts.write_text(f"{here}127.0.0.1:1 nobody\n")
    with pytest.raises(CommandError, match="1 ok, 1 failed"):
        operated.workstation.many(hosts, "status")


def test_a_bundle_holds_no_secret(operated: Operated, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.zst"
    operated.ask("bundle", "--output", str(path))
    with (
        path.open("rb") as stream,
        zstandard.open(stream, "rb") as plain,
        tarfile.open(fileobj=plain, mode="r|") as archive,
    ):
        members = {
            member.name: data.read() for member in archive if (data := archive.extractfile(member))
        }
    manifest = next(text for name, text in members.items() if name.endswith("manifest.json"))
    assert json.loads(manifest)["schema"] == 1
    assert any(b"bedplate-updated" in text for text in members.values())
    for name, text in members.items():
        assert _SECRET.encode() not in text, name
        assert PASSWORD.encode() not in text, name


def test_override_check_and_stage(operated: Operated, server: FaultServer, offer: Path) -> None:
    server.set_folder(offer)
    assert "2" in operated.ask("check")
    told = operated.ask("override", "--strategy", "reboot", "--channel", "beta")
    assert "boot" in told

    def taken() -> bool | None:
        found = operated.answer("update")
        wanted = {"channel": "beta", "strategy": "reboot"}
        return True if found["override"] == wanted else None

    wait_until(taken, SECONDS, "the override")
    operated.ask("override", "--end")
    assert operated.answer("update")["override"] is None
    operated.stage()


def test_a_reboot_drains_and_is_waited_for(operated: Operated) -> None:
    """It brings the next authority's certificate along, and ends an override."""
    folder = operated.workstation.folder
    for name in ("eve.pem", "eve.key", "ca.pem"):
        shutil.copy2(folder / name, folder / f"former-{name}")
    operated.workstation.pki("rotate")
    operated.workstation.pki("give", str(operated.document))
    operated.ask("override", "--channel", "beta")
    wait_until(lambda: operated.answer("update")["override"], SECONDS, "the override")
    before = operated.answer("status")["host"]["boot_id"]
    operated.ask("reboot", *REBOOT)
    assert operated.answer("update")["override"] is None
    found = operated.answer("status")
    assert found["host"]["boot_id"] != before
    assert found["host"]["version"] == "2"
    operated.guest.wait_until_good("2")
    assert len(operated.answer("boots")["boots"]) == 2
    assert "bedplate-reboot.service" in operated.ask("logs", "--boot", "-1")


def test_the_next_authority_signs_for_a_host_that_enrolled(operated: Operated) -> None:
    workstation, folder = operated.workstation, operated.workstation.folder
    workstation.pki("rotate", "--use")
    workstation.pki("renew", "--all")
    # Who is trusted by both has had no gap; who knows the next one alone waits for the host.
    assert operated.ask("status", who="former-eve")
    assert operated.ask("status", who="eve")
    former = (folder / "former-ca.pem").read_text()
    following = folder / "next-ca.pem"
    following.write_text((folder / "ca.pem").read_text().replace(former, ""))
    with pytest.raises(CommandError, match="its certificate is not trusted"):
        operated.ask("status", "--ca-file", str(following))
    operated.ask("certificate", "renew")

    def renewed() -> bool | None:
        try:
            return bool(operated.ask("status", "--ca-file", str(following)))
        except CommandError:
            return None

    wait_until(renewed, SECONDS, "a certificate of the next authority")


def test_a_crash_is_read(operated: Operated, tmp_path: Path) -> None:
    """A core dump of a pod's process, and what the kernel said when it panicked."""
    guest = operated.guest
    guest.host.check_output(
        "systemd-run --quiet --wait /usr/bin/python3 -c 'import os; os.abort()' || true"
    )

    def dumped() -> dict[str, Any] | None:
        found = operated.answer("crash", "list")["crashes"]
        return next((each for each in found if each["kind"] == "core"), None)

    core = wait_until(dumped, SECONDS, "the core dump")
    path = tmp_path / "core"
    operated.ask("crash", "get", core["name"], "--output", str(path))
    assert path.stat().st_size == core["bytes"]
    guest.machine.monitor.forget_events()
    guest.ask("(sleep 1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &")
    guest.machine.wait_for_reboot(BOOT_SECONDS)
    guest.wait_until_good("2")
    operated.wait_until_up()

    def oops() -> bool | None:
        """What the kernel left is in parts, and one of them has the end of it."""
        found = operated.answer("crash", "list")["crashes"]
        for number, each in enumerate(found):
            part = tmp_path / f"kernel.{number}"
            if each["kind"] == "kernel":
                operated.ask("crash", "get", each["name"], "--output", str(part))
                if b"sysrq" in part.read_bytes():
                    return True
        return None

    wait_until(oops, SECONDS, "the kernel's last words")


def test_a_rollback(operated: Operated) -> None:
    """Its boot is the end of the former authority, too."""
    operated.workstation.pki("rotate", "--finish")
    operated.workstation.pki("give", str(operated.document))
    operated.ask("rollback", *REBOOT)
    ours = str(operated.workstation.folder / "ca.pem")
    with pytest.raises(CommandError, match="refuses our certificate"):
        operated.ask("status", "--ca-file", ours, who="former-eve")
    found = operated.answer("update")
    assert found["status"]["version"] == "1"
    assert [each["version"] for each in found["status"]["rejected"]] == ["2"]


def test_a_wipe_leaves_nothing(operated: Operated) -> None:
    guest = operated.guest
    guest.wait_until_good("1")
    guest.host.check_output("echo kept > /var/lib/marker && sync")
    with pytest.raises(CommandError, match="yes-wipe"):
        operated.ask("wipe", _NAME)
    with pytest.raises(CommandError):
        operated.ask("wipe", "another", "--yes-wipe", "another")
    guest.machine.monitor.forget_events()
    operated.ask("wipe", _NAME, "--yes-wipe", _NAME)
    guest.machine.wait_for_reboot(BOOT_SECONDS)
    guest.wait_until_good("1")
    assert guest.host.run("test -e /var/lib/marker").rc == 1
    # Its token is spent, and its key is gone: it is nobody until its document has another one.
    assert guest.host.run("test -e /var/lib/bedplate/api/host.pem").rc == 1


def _anonymous(guest: Guest) -> int:
    """Bytes of the API's own memory: pages of journal files are the page cache's."""
    text = guest.host.check_output(
        "cat /sys/fs/cgroup/system.slice/bedplate-api.service/memory.stat"
    )
    return int(dict(line.split() for line in text.splitlines())["anon"])


def _follow(operated: Operated) -> ssl.SSLSocket:
    folder = operated.workstation.folder
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "eve.pem", folder / "eve.key", password=PASSPHRASE)
    plain = socket.create_connection(("127.0.0.1", operated.guest.machine.port(PORT)), 60)
    wrapped = context.wrap_socket(plain, server_hostname=_NAME)
    wrapped.sendall(f"GET /v1/logs?follow=true HTTP/1.1\r\nHost: {_NAME}\r\n\r\n".encode())
    return wrapped
