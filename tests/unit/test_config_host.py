"""One run after the other on a host that is a folder: real sources, files, memory and status."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath
from textwrap import indent

import pytest

import tls_server
from cloudconfig import host, intake, memory, observe, report, store
from cloudconfig.document import read_document
from cloudconfig.host import Stage
from cloudconfig.places import Places
from cloudconfig.report import ConfigStatus, InForce
from played_root import play_root
from updater.errors import BedplateError

SECRET = "hunter2"  # noqa: S105
GOOD = f"""\
#cloud-config
hostname: web-1
write_files:
  - {{path: /etc/motd, owner: root:root, content: hello}}
  - {{path: /var/lib/app/config, owner: root:root, permissions: 0600, content: {SECRET}}}
coreos:
  units: [{{name: web.service, command: start, content: "[Service]"}}]
"""


@dataclass(slots=True)
class Kit:
    """A host's root, and what systemd was told."""

    root: Path
    told: list[str] = field(default_factory=list)
    overlooked: bool = False  # systemd has not seen the new unit

    @property
    def places(self) -> Places:
        return Places(self.root)

    def give(self, document: str | None) -> None:
        credential = self.root / "run/credentials/@system/bedplate.cloud-config"
        credential.parent.mkdir(parents=True, exist_ok=True)
        credential.unlink(missing_ok=True)
        if document is not None:
            credential.write_text(document)

    def reboot(self) -> None:
        """All that is on tmpfs is gone."""
        for top in ("etc", "run"):
            for path in sorted((self.root / top).rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.told.clear()
        self.image()

    def image(self) -> None:
        (self.root / "etc").mkdir(exist_ok=True)
        (self.root / "etc/motd").write_text("the image's\n")
        (self.root / "etc/passwd").write_text("root:x:0:0::/:/x\n")
        (self.root / "etc/group").write_text("root:x:0:\n")

    def run(self, stage: Stage = Stage.EARLY) -> ConfigStatus:
        given, status = intake.take(self.places, stage)
        prepared = host.prepare(given, self.places, status)
        return host.apply(prepared, self.places, stage, systemctl=self._systemctl)

    def _systemctl(self, argv: tuple[str, ...]) -> None:
        self.told.append(" ".join(argv))
        if self.overlooked and "daemon-reload" not in self.told:
            raise BedplateError("Unit web.service not found.")

    def read(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kit:
    play_root(monkeypatch)
    made = Kit(tmp_path)
    made.image()
    return made


def test_a_unit_of_the_image_is_read_anew(kit: Kit) -> None:
    kit.give(GOOD)
    of_image = kit.root / "usr/lib/systemd/system/web.service"
    of_image.parent.mkdir(parents=True, exist_ok=True)
    of_image.touch()
    assert kit.run().good
    assert kit.told == ["daemon-reload", "start --no-block web.service"]


def test_a_unit_that_systemd_overlooked_is_started_all_the_same(kit: Kit) -> None:
    kit.give(GOOD)
    kit.overlooked = True
    assert kit.run().good
    start = "start --no-block web.service"
    assert kit.told == [start, "daemon-reload", start]


def test_a_boot_starts_what_its_targets_want_and_a_later_change_reloads(kit: Kit) -> None:
    unit = "[Service]\\n[Install]\\nWantedBy=multi-user.target"
    kit.give(
        f'#cloud-config\ncoreos: {{units: [{{name: a.service, enable: true, content: "{unit}"}}]}}'
    )
    assert kit.run().good
    assert (kit.root / "etc/systemd/system/multi-user.target.wants/a.service").is_symlink()
    assert kit.told == ["start --no-block a.service"]
    kit.told.clear()
    kit.give(None)
    assert kit.run(Stage.RUNNING).good
    assert "daemon-reload" in kit.told


def test_a_host_without_a_document_has_the_defaults(kit: Kit) -> None:
    status = kit.run()
    assert status.in_force is InForce.DEFAULTS
    assert status.good
    assert kit.told == []
    assert len(status.tried) >= 9


def test_a_document_is_applied_and_remembered(kit: Kit) -> None:
    kit.give(GOOD)
    status = kit.run()
    assert (status.in_force, status.source) == (InForce.DOCUMENT, "credential")
    assert kit.read("etc/motd") == "hello"
    assert kit.read("etc/hostname") == "web-1\n"
    assert (kit.root / "var/lib/app/config").stat().st_mode & 0o777 == 0o600
    assert kit.told == ["start --no-block web.service"]
    assert report.read(kit.places) == status
    assert 'configuration="document"} 1' in kit.read("run/bedplate/metrics/config.prom")
    last = store.load_last_good(kit.places)
    assert last is not None
    assert last.document.decode() == GOOD


def test_what_is_kept_is_for_root_alone(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    for folder in ("run/bedplate/config", "var/lib/bedplate/config"):
        for path in (kit.root / folder).rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                assert path.stat().st_mode & 0o077 == 0, path
    assert SECRET not in kit.read("run/bedplate/config/status.json")


def test_applying_it_again_changes_nothing(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    kit.told.clear()
    before = (kit.root / "etc/motd").stat()
    kit.run(Stage.RUNNING)
    after = (kit.root / "etc/motd").stat()
    # To look at it may have changed the time of access.
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert kit.told == []


def test_another_document_leaves_no_trace_of_the_old_one(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    for reboots in (False, True):
        if reboots:
            kit.reboot()
        kit.give("#cloud-config\nhostname: web-2\n")
        kit.run()
        assert kit.read("etc/hostname") == "web-2\n"
        assert kit.read("etc/motd") == "the image's\n"
        assert not (kit.root / "var/lib/app").exists()
        assert not (kit.root / "etc/systemd/system").exists()
        kit.give(GOOD)
        kit.run()


def test_at_run_time_only_what_differs_is_told(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    kit.told.clear()
    kit.give(GOOD.replace("[Service]", "[Service]\\nNice=1"))
    kit.run(Stage.RUNNING)
    assert kit.told == [
        "daemon-reload",
        "try-restart web.service",
        "start web.service",
    ]


def test_who_reads_a_file_is_told_that_it_is_gone(kit: Kit) -> None:
    with_servers = f"{GOOD}ntp: {{servers: [192.0.2.1]}}\n"
    kit.give(with_servers)
    kit.run()
    kit.give(GOOD)
    kit.told.clear()
    kit.run(Stage.RUNNING)
    assert kit.told == ["try-restart systemd-timesyncd.service"]


def test_a_memory_of_another_release_is_read(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    path = kit.root / "var/lib/bedplate/config/memory.json"
    document = json.loads(path.read_text())
    earlier = {key: value for key, value in document.items() if key != "affects"}
    affects = {each: [["a.service", "unheard of"]] for each in document["managed"]}
    for other in (earlier, document | {"affects": affects}):
        path.write_text(json.dumps(other))
        assert memory.load(kit.places).managed[PurePosixPath("/var/lib/app/config")] == ()


@pytest.mark.parametrize(
    "broken", ["#cloud-config\nhostnam: x\n", "#!/bin/sh\n", "#cloud-config\n\ta: [", "\x00"]
)
def test_a_broken_document_leaves_the_last_good_one_in_force(kit: Kit, broken: str) -> None:
    kit.give(GOOD)
    kit.run()
    kit.reboot()
    kit.give(broken)
    status = kit.run()
    assert status.in_force is InForce.LAST_GOOD
    assert status.faults[0].startswith("credential/bedplate.cloud-config:")
    assert kit.read("etc/hostname") == "web-1\n"
    assert "bedplate_config_good 0" in kit.read("run/bedplate/metrics/config.prom")
    assert "fault" in kit.read("run/bedplate/notes/config")
    last = store.load_last_good(kit.places)
    assert last is not None
    assert last.document.decode() == GOOD


def test_a_page_more_or_less_is_the_same_machine(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Firmware keeps some for itself, and not always as many; swap is as large as memory."""
    pages = iter((245_997, 245_996, 245_996, 245_997))

    def sysconf(name: str) -> int:
        return next(pages) if name == "SC_PHYS_PAGES" else 4096

    monkeypatch.setattr("os.sysconf", sysconf)
    config = read_document(GOOD.encode(), Path("x")).config
    first, second = (observe.facts(config, memory.Memory(), kit.places).memory for _ in range(2))
    assert first == second == 1 << 30
    once, again = (observe.release_facts(memory.Memory(), kit.places) for _ in range(2))
    assert once == again


def test_what_is_remembered_already_is_not_written_again(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    path = kit.root / "var/lib/bedplate/config/memory.json"
    before = path.stat().st_ino
    kit.reboot()
    kit.give(GOOD)
    kit.run()
    assert path.stat().st_ino == before


def test_the_time_zones_of_the_host_are_what_counts(kit: Kit) -> None:
    for zone in ("UTC", "Europe/Berlin"):
        path = kit.root / "usr/share/zoneinfo" / zone
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kit.give("#cloud-config\ntimezone: Europe/Berlin\n")
    assert kit.run().good
    assert (kit.root / "etc/localtime").readlink() == Path("../usr/share/zoneinfo/Europe/Berlin")
    kit.give("#cloud-config\ntimezone: Europe/Berln\n")
    (fault,) = kit.run().faults
    assert fault.endswith("did you mean 'Europe/Berlin'?")
    kit.give("#cloud-config\ntimezone: Europe\n")
    (fault,) = kit.run().faults
    assert "the image has no time zone 'Europe'" in fault


def test_what_only_a_host_can_tell_is_told_at_once_in_its_place(kit: Kit) -> None:
    kit.give(
        "#cloud-config\n"
        "users: [{name: root, uid: 7}, {name: web, primary_group: www}]\n"
        "timezone: Mars/Olympus\n"
        "coreos:\n"
        "  units: [{name: a.service, enable: true}, {name: b.service, enable: true}]\n"
    )
    told = (
        "2:16: users: root: the image has a user of that name",
        "2:58: users: web: there is no group www; add it to groups",
        "3:11: timezone: the image has no time zone 'Mars/Olympus'",
        "5:37: coreos.units: a.service: enable, but its [Install] section names no unit",
        "5:70: coreos.units: b.service: enable, but its [Install] section names no unit",
    )
    for fault, expected in zip(kit.run().faults, told, strict=True):
        assert fault.partition(":")[2].startswith(expected)


def test_what_does_nothing_on_this_host_is_warned_of(kit: Kit) -> None:
    key = "ssh-ed25519 AAAA me"
    kit.give(
        "#cloud-config\n"
        f"users: [{{name: web, ssh_authorized_keys: ['{key}']}}]\n"
        f"ssh_authorized_keys: ['{key}']\n"
        "manage_etc_hosts: true\n"
        "prefer_fqdn_over_hostname: true\n"
    )
    told = (
        "2:21: web: ssh_authorized_keys: no developer extension",
        "3:1: ssh_authorized_keys: no developer extension",
        "4:19: manage_etc_hosts does nothing: neither document nor source names this host",
        "5:28: prefer_fqdn_over_hostname does nothing: neither document nor source has a fqdn",
    )
    for warning, expected in zip(kit.run().warnings, told, strict=True):
        assert warning.partition(":")[2].startswith(expected)
    (kit.root / "usr/lib/bedplate-developer").mkdir(parents=True)
    assert len(kit.run().warnings) == 2


def test_a_broken_first_document_leaves_the_defaults(kit: Kit) -> None:
    kit.give("#cloud-config\nhostnam: x\n")
    status = kit.run()
    assert status.in_force is InForce.DEFAULTS
    assert not status.good


def test_a_torn_last_good_document_is_none(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    for path in (kit.root / "var/lib/bedplate/config/last-good").iterdir():
        path.write_bytes(path.read_bytes()[:-3])
    kit.reboot()
    kit.give("#cloud-config\nhostnam: x\n")
    assert kit.run().in_force is InForce.DEFAULTS


def test_a_file_that_cannot_be_written_does_not_keep_the_others_from_it(kit: Kit) -> None:
    (kit.root / "etc/motd").unlink()
    (kit.root / "etc/motd").mkdir()
    kit.give(GOOD)
    status = kit.run()
    assert any("/etc/motd" in fault for fault in status.faults)
    assert kit.read("etc/hostname") == "web-1\n"
    assert store.load_last_good(kit.places) is None


def test_what_must_be_fetched_waits_for_the_network(kit: Kit) -> None:
    kit.give(
        "#cloud-config\nwrite_files: [{path: /etc/x, source: {uri: 'https://x.invalid/y', "
        f"sha256: '{'0' * 64}'}}}}]\n"
    )
    status = kit.run()
    assert status.waiting_for == ("https://x.invalid/y",)
    assert not (kit.root / "etc/x").exists()


def test_what_is_fetched_may_come_from_whom_the_same_document_vouches_for(
    kit: Kit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = b"hello\n"
    folder = tmp_path_factory.mktemp("server")
    with tls_server.serving({"x": content}, "127.0.0.1", folder) as server:
        fetched = f"uri: 'https://127.0.0.1:{server.port}/x', sha256: {sha256(content).hexdigest()}"
        kit.give(
            f"#cloud-config\nca_certs:\n  trusted:\n    - |\n{indent(server.certificate, ' ' * 6)}"
            f"write_files: [{{path: /etc/x, source: {{{fetched}}}}}]\n"
        )
        status = kit.run(Stage.NETWORK)
    assert status.good, status.faults
    assert kit.read("etc/x") == "hello\n"
    assert "BEGIN CERTIFICATE" in kit.read("etc/ssl/certs/ca-certificates.crt")


def test_a_second_source_does_not_stand_in_for_a_broken_first(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    baked = kit.root / "usr/share/bedplate/cloud-config.yaml"
    baked.parent.mkdir(parents=True)
    baked.write_text("#cloud-config\nhostname: baked\n")
    kit.give("#cloud-config\nhostnam: x\n")
    assert kit.run().in_force is InForce.LAST_GOOD


def test_a_plan_writes_nothing(kit: Kit) -> None:
    kit.give(GOOD)
    given, status = intake.take(kit.places, Stage.RUNNING)
    prepared = host.prepare(given, kit.places, status)
    before = {path for path in kit.root.rglob("*") if path.is_file()}
    assert host.plan(prepared, kit.places, Stage.RUNNING)
    assert {path for path in kit.root.rglob("*") if path.is_file()} == before
    assert not kit.places.state.exists()


def test_the_status_is_json_with_a_schema(kit: Kit) -> None:
    kit.give(GOOD)
    kit.run()
    assert json.loads(kit.read("run/bedplate/config/status.json"))["schema"] == 1


def test_the_next_boot_need_not_read_the_document_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.give(GOOD)
    kit.run()
    files = {path: path.read_bytes() for path in (kit.root / "etc").rglob("*") if path.is_file()}
    kit.reboot()
    kit.give(GOOD)

    def read(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("cloudconfig.reading.compile_document", read)
    status = kit.run()
    assert status.good
    assert status.in_force is InForce.DOCUMENT
    again = {path: path.read_bytes() for path in (kit.root / "etc").rglob("*") if path.is_file()}
    assert again == files
    kit.give(GOOD.replace("web-1", "web-2"))
    with pytest.raises(AssertionError, match="it was read"):
        kit.run()


def test_another_release_reads_the_document_again(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.give(GOOD)
    kit.run()
    kit.reboot()
    kit.give(GOOD)
    release = kit.root / "usr/lib/os-release"
    release.parent.mkdir(parents=True)
    release.write_text("IMAGE_VERSION=2\n")
    monkeypatch.setattr(
        "cloudconfig.reading.compile_document", lambda *_: pytest.fail("it was read")
    )
    with pytest.raises(pytest.fail.Exception, match="it was read"):
        kit.run()


def test_a_document_with_an_address_waits_for_one(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    kit.give("#cloud-config\nwrite_files: [{path: /etc/x, content: at $private_ipv4}]\n")
    status = kit.run()
    assert status.waiting_for == ("$private_ipv4",)
    assert not (kit.root / "etc/x").exists()
    monkeypatch.setattr(
        "cloudconfig.variables.own_addresses", lambda names: dict.fromkeys(names, "192.0.2.7")
    )
    kit.run(Stage.NETWORK)
    assert kit.read("etc/x") == "at 192.0.2.7"
