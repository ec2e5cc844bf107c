"""One host with pods of its own: every promised field, a reboot, an update, a wrong manifest."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import image_registry
from badreleases import rolls_back
from builder.vm.wait import wait_until
from faultserver import FaultServer
from image_registry import PASSWORD, USER, ImageRegistry, busybox
from site_of_tests import BOOT_SECONDS, Guest, Site, guest_of

# Four pods that start at once on an emulated host take minutes on a slow machine.
pytestmark = pytest.mark.thorough

_SECONDS = 1200.0  # for an emulated host to come to something
_OUT = "/var/lib/fields"  # what the pod `fields` leaves for us to look at
_SAID = "from the registry's mirror"
# By a mirror that wants credentials, for a registry that is nowhere (RFC 2606).
_IMAGE = "registry.example.invalid/web:1"

PODS = {
    "web": """\
spec:
  containers:
    - name: web
      image: IMAGE
      ports: [{name: http, containerPort: 80, hostPort: 8080}]
      startupProbe: {httpGet: {path: /, port: http}, periodSeconds: 2, failureThreshold: 100}
      livenessProbe: {tcpSocket: {port: 80}, timeoutSeconds: 30}
      readinessProbe: {exec: {command: [cat, /www/index.html]}, timeoutSeconds: 30}
""",
    "host": """\
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 5
  containers: [{name: web, image: IMAGE, args: [httpd, -f, -h, /www, -p, "8081"]}]
""",
    "job": """\
spec:
  restartPolicy: Never
  initContainers:
    - name: first
      image: IMAGE
      command: [sh, -c, "echo made > /shared/it"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
    - name: second
      image: IMAGE
      command: [sh, -c, "cat /shared/it"]
      volumeMounts: [{name: shared, mountPath: /shared}]
  volumes: [{name: shared, emptyDir: {}}]
""",
    "fields": """\
spec:
  hostname: inside
  hostAliases: [{ip: 192.0.2.7, hostnames: [seven.example.org]}]
  dnsPolicy: None
  dnsConfig:
    nameservers: [192.0.2.53]
    searches: [example.org]
    options: [{name: ndots, value: "3"}]
  securityContext:
    supplementalGroups: [3000]
    sysctls: [{name: net.ipv4.ping_group_range, value: "0 3000"}]
  volumes:
    - {name: out, hostPath: {path: OUT, type: DirectoryOrCreate}}
    - {name: settings, configMap: {name: settings, defaultMode: 0444}}
    - {name: hidden, secret: {secretName: hidden}}
    - {name: memory, emptyDir: {medium: Memory}}
    - {name: kept, persistentVolumeClaim: {claimName: kept}}
  initContainers:
    # What podman makes is root's.
    - name: open
      image: IMAGE
      command: [busybox, chmod, "777", /out, /kept]
      volumeMounts: [{name: out, mountPath: /out}, {name: kept, mountPath: /kept}]
  containers:
    - name: all
      image: IMAGE
      workingDir: /www
      command: [sh, -c]
      args:
        - |
          id > /out/id; env > /out/env; cat /etc/hosts > /out/hosts; cat /proc/mounts > /out/mounts
          cat /etc/resolv.conf > /out/resolv; pwd > /out/pwd; cat /etc/hostname > /out/hostname
          cat /settings/colour > /out/colour; cat /hidden/word > /out/word
          cat /proc/self/status > /out/status; cat /sys/fs/cgroup/memory.max > /out/memory
          cat /sys/fs/cgroup/cpu.max > /out/cpu; echo x > /readonly; echo $? > /out/written
          cat /proc/sys/net/ipv4/ping_group_range > /out/sysctl
          stat -c %a /settings/colour > /out/mode
          echo once >> /kept/runs; cat /kept/runs > /out/runs; echo heard by the journal
          exec sleep 100000
      env:
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: PLAIN, value: "given $(POD)"}
        - {name: COLOUR, valueFrom: {configMapKeyRef: {name: settings, key: colour}}}
        - {name: WORD, valueFrom: {secretKeyRef: {name: hidden, key: word}}}
      envFrom: [{prefix: ALL_, configMapRef: {name: settings}}]
      resources: {limits: {memory: 64Mi, cpu: 500m}}
      securityContext:
        runAsUser: 1000
        runAsGroup: 1000
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
        capabilities: {add: [NET_RAW], drop: [CHOWN]}
      volumeMounts:
        - {name: out, mountPath: /out}
        - {name: settings, mountPath: /settings, readOnly: true}
        - {name: hidden, mountPath: /hidden}
        - {name: memory, mountPath: /memory}
        - {name: kept, mountPath: /kept}
""",
}
MORE = {
    "fields": """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: green}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {word: sesame}
"""
}
DOCUMENT = """\
#cloud-config
hostname: pods-1
ca_certs:
  trusted:
    - |
{certificate}
coreos: {{update: {{reboot-strategy: off}}}}
bedplate:
  update: {{server: "{updates}"}}
  registries:
    registry.example.invalid: {{mirrors: ["{registry}/mirror"]}}
    "{registry}": {{username: {user}, password: {password}}}
  pods:
{pods}
"""


def document(registry: ImageRegistry, updates: str) -> str:
    """The host's cloud-config, with all of PODS."""
    pods = []
    for name, text in PODS.items():
        manifest = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n{text}"
        manifest += MORE.get(name, "")
        manifest = manifest.replace("IMAGE", _IMAGE).replace("OUT", _OUT)
        pods.append(f"    - name: {name}\n      manifest: |\n{textwrap.indent(manifest, ' ' * 8)}")
    return DOCUMENT.format(
        certificate=textwrap.indent(registry.certificate, " " * 6),
        registry=registry.name,
        updates=updates,
        user=USER,
        password=PASSWORD,
        pods="".join(pods),
    )


class Pods:
    """What the agent of a host says of its pods."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest

    def status(self) -> Mapping[str, Any]:
        """The whole of it; empty before the agent has said anything."""
        text = self.guest.ask("cat /run/bedplate/pods/status.json")
        found: Mapping[str, Any] = json.loads(text) if text else {}
        return found

    def pods(self) -> Mapping[str, Mapping[str, Any]]:
        """The pods by their ids."""
        return {each["id"]: each for each in self.status().get("pods", [])}

    def wait_until_all_is_well(self) -> Mapping[str, Mapping[str, Any]]:
        """Wait until every pod is ready, or has ended well; what is said of them then."""

        def well() -> Mapping[str, Mapping[str, Any]] | None:
            found = self.pods()
            done = [each["ready"] or each["phase"] == "Succeeded" for each in found.values()]
            return found if found.keys() == PODS.keys() and all(done) else None

        try:
            return wait_until(well, _SECONDS, "all pods to be ready")
        except BaseException:
            print(json.dumps(self.status(), indent=1))
            raise


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    with image_registry.serving(tmp_path_factory.mktemp("images") / "registry") as served:
        served.push(busybox(said=_SAID), "mirror/web", "1")
        yield served


@pytest.fixture(scope="module")
def pods(
    site: Site,
    server: FaultServer,
    registry: ImageRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pods]:
    """A host whose pods all run."""
    with guest_of(
        site,
        tmp_path_factory.mktemp("pods") / "guest",
        image=site.release("1") / "bedplate_1.qcow2",
        document=document(registry, server.url_for_guest()),
    ) as guest:
        guest.wait_until_good("1")
        found = Pods(guest)
        found.wait_until_all_is_well()
        yield found


def test_pods_of_the_document_run(pods: Pods) -> None:
    found = pods.pods()
    assert found["web"]["phase"] == "Running"
    assert found["job"]["phase"] == "Succeeded"
    assert _fetched(pods.guest, 8080) == _SAID


def test_a_pod_in_the_hosts_network(pods: Pods) -> None:
    assert _fetched(pods.guest, 8081) == _SAID


def test_what_init_containers_leave_is_there(pods: Pods) -> None:
    logs = pods.guest.host.check_output("journalctl -o cat CONTAINER_NAME=job-second")
    assert logs == "made"


def test_output_is_in_the_journal(pods: Pods) -> None:
    logs = pods.guest.host.check_output("journalctl -o cat CONTAINER_NAME=fields-all")
    assert "heard by the journal" in logs


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("id", "uid=1000(web) gid=1000(1000) groups=1000(1000),3000"),
        ("env", "PLAIN=given fields"),
        ("env", "COLOUR=green"),
        ("env", "ALL_colour=green"),
        ("env", "WORD=sesame"),
        ("hosts", "seven.example.org"),
        ("resolv", "nameserver 192.0.2.53"),
        ("resolv", "search example.org"),
        ("resolv", "ndots:3"),
        ("hostname", "inside"),
        ("pwd", "/www"),
        ("colour", "green"),
        ("mode", "444"),
        ("word", "sesame"),
        ("status", "NoNewPrivs:\t1"),
        ("memory", "67108864"),
        ("cpu", "50000 100000"),
        ("written", "1"),
        ("sysctl", "0\t3000"),
        ("mounts", "tmpfs /memory"),
    ],
)
def test_a_field_has_its_effect(pods: Pods, name: str, expected: str) -> None:
    found = pods.guest.host.check_output(f"cat {_OUT}/{name}")
    assert expected in found, found


def test_secrets_are_not_told(pods: Pods) -> None:
    told = pods.guest.host.check_output("journalctl -b --no-pager -u 'bedplate-*'")
    assert "sesame" not in told
    assert PASSWORD not in told
    assert "sesame" not in json.dumps(pods.status())


def test_a_wrong_manifest_is_refused_and_the_others_go_on(pods: Pods) -> None:
    host, before = pods.guest.host, pods.pods()
    wrong = (
        "apiVersion: v1\\nkind: Pod\\nmetadata: {name: wrong}\\nspec: {containers: [{nme: x}]}\\n"
    )
    host.check_output(f"printf '{wrong}' > /etc/bedplate/pods/wrong.yaml")
    why = wait_until(
        lambda: pods.status().get("refused", {}).get("wrong.yaml"), _SECONDS, "a refusal"
    )
    assert "wrong.yaml:4:" in why
    assert "spec.containers[0].nme" in why
    host.check_output("rm /etc/bedplate/pods/wrong.yaml")
    wait_until(lambda: not pods.status()["refused"] or None, _SECONDS, "no refusal")
    started = [each["containers"][0]["started"] for each in before.values()]
    assert [each["containers"][0]["started"] for each in pods.pods().values()] == started


def test_the_status_for_people(pods: Pods) -> None:
    table = pods.guest.host.check_output("bedplate-pods status")
    assert "web" in table
    assert "Running" in table
    told = json.loads(pods.guest.host.check_output("bedplate-pods status --json"))
    assert told["schema"] == 1
    assert {each["id"] for each in told["pods"]} == set(PODS)


def test_a_reboot_loses_and_duplicates_nothing(pods: Pods) -> None:
    before = _containers(pods.guest)
    pods.guest.reboot()
    pods.guest.reach(BOOT_SECONDS)
    pods.wait_until_all_is_well()
    assert _containers(pods.guest) == before
    assert _fetched(pods.guest, 8080) == _SAID
    # A job that had ended is not done again; what runs for ever runs again.
    logs = pods.guest.host.check_output("journalctl -o cat CONTAINER_NAME=job-second")
    assert logs == "made"
    runs = pods.guest.host.check_output(f"cat {_OUT}/runs").splitlines()
    assert runs == ["once", "once"]


@pytest.fixture(scope="module")
def offer(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that offers release 2; what is added to it the host takes as its successor."""
    return site.repository(tmp_path_factory.mktemp("offer") / "repository", site.release("2"))


def test_pods_are_drained_before_an_update_and_run_after_it(
    server: FaultServer, pods: Pods, offer: Path
) -> None:
    guest = pods.guest
    server.set_folder(offer)
    guest.machine.monitor.forget_events()
    guest.ask("bedplate-update apply")
    guest.machine.wait_for_reboot(BOOT_SECONDS)
    guest.wait_until_good("2")
    pods.wait_until_all_is_well()
    journal = guest.host.check_output("journalctl -b -1 --no-pager -o cat")
    assert journal.index("stop pod web") < journal.index("Finished bedplate-reboot.service")
    assert "pods that ran before the update and run again: 3" in guest.journal()
    assert _fetched(guest, 8080) == _SAID
    logs = guest.host.check_output("journalctl -o cat CONTAINER_NAME=job-second")
    assert logs == "made"


def test_a_release_that_breaks_podman_is_taken_back(
    site: Site, server: FaultServer, pods: Pods, offer: Path
) -> None:
    site.offer(offer, site.release("3", "tests/vm/images/podless.yaml"))
    server.set_folder(offer)
    rolls_back(pods.guest, "3", tries=1)
    pods.wait_until_all_is_well()
    assert _fetched(pods.guest, 8080) == _SAID


def _fetched(guest: Guest, port: int) -> str:
    """The page that a pod serves at a port of the host."""
    command = f"curl -sSf --max-time 60 http://127.0.0.1:{port}/"
    return wait_until(lambda: guest.ask(command).strip() or None, _SECONDS, f"port {port}")


def _containers(guest: Guest) -> list[str]:
    """The names of podman's containers; a name may be there once."""
    names = guest.host.check_output("podman ps --all --format '{{.Names}}'").splitlines()
    return sorted(each for each in names if not each.endswith("-infra"))
