"""Whom a host trusts, and who trusts it, as all of that changes; nobody logs in meanwhile.

Each test begins with what the one before it has left. The host's document comes from a server
(NoCloud), and so a new one comes with a reboot.
"""

import hashlib
import json
import shutil
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

import tls_server
from asker import Asker, gaps
from builder.extension import Signer
from builder.host.target import Target
from builder.run import CommandError
from builder.vm.config import Forward, UserNetwork
from builder.vm.wait import wait_until
from faultserver import FaultServer
from hostapi.port import PORT
from operated import REBOOT, SECONDS, Operated, sourcing
from site_of_tests import Site, guest_of, stranger
from workstation import Workstation, bedplate

pytestmark = pytest.mark.thorough

_NAME = "trust-1"
_ADDRESS = "10.0.2.15"
_GREETING = "tests/vm/images/greeting.yaml"
_MORE = """\
  update: {{server: "{updates}", channel: stable, strategy: "off", interval: 7d}}
  extensions:
    - {{name: greeting, url: "{extensions}/greeting", sha256: "{sha256}"}}
ca_certs:
  trusted:
    - |
{certificate}
"""


@dataclass(frozen=True, slots=True)
class Extensions:
    """Extensions by name, on a server that has this certificate."""

    contents: Mapping[str, bytes]
    url: str
    certificate: str

    def sha256(self, name: str) -> str:
        """What an extension hashes to."""
        return hashlib.sha256(self.contents[name]).hexdigest()

    def add(self, operated: Operated, name: str) -> str:
        """What the host says when the API is to add one."""
        return operated.ask("extension", "add", name, f"{self.url}/{name}", self.sha256(name))


@pytest.fixture(scope="module")
def extensions(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Extensions]:
    """One that fits release 1 alone, one for release 2, and one of a stranger's key."""
    folder = tmp_path_factory.mktemp("extensions")

    def made(name: str, signer: Signer, release: str = "1") -> bytes:
        changes = {"name": name, "fits": "release"}
        image = site.extension("trust", _GREETING, signer, release=release, overrides=changes)
        return image.read_bytes()

    contents = {
        "greeting": made("greeting", site.signer()),
        "later": made("later", site.signer(), "2"),
        "foreign": made("foreign", stranger(folder / "keys")),
    }
    with tls_server.serving(contents, "10.0.2.2", folder) as https:
        yield Extensions(contents, f"https://10.0.2.2:{https.port}", https.certificate)


@pytest.fixture(scope="module")
def updates(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that offers what the host has, and will have its root changed."""
    path = tmp_path_factory.mktemp("updates") / "repository"
    return site.repository(path, site.release("1"))


@pytest.fixture(scope="module")
def operated(
    site: Site,
    server: FaultServer,
    updates: Path,
    extensions: Extensions,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Operated]:
    """A good host of release 1, whose document brings its certificate along.

    It looks for updates by itself, so they are there before it is: it would not believe older
    metadata than it has seen, such as those of another test's repository.
    """
    server.set_rules()
    server.set_folder(updates)
    folder = tmp_path_factory.mktemp("host")
    workstation = Workstation.make(folder / "pki")
    document = workstation.brought(_NAME, _ADDRESS)
    more = _MORE.format(
        updates=server.url_for_guest(),
        extensions=extensions.url,
        sha256=extensions.sha256("greeting"),
        certificate=textwrap.indent(extensions.certificate, " " * 6),
    )
    document.write_text(document.read_text() + more)
    with ExitStack() as stack:
        firmware = stack.enter_context(sourcing(document))
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
        found = Operated(_NAME, guest, workstation, document)
        found.wait_until_up()
        yield found


@pytest.fixture(scope="module")
def asker(operated: Operated) -> Iterator[Asker]:
    """Eve asks all the time, from the rotation's beginning to its end."""
    target = Target.parse(f"127.0.0.1:{operated.guest.machine.port(PORT)}", _NAME)
    with Asker(target, operated.workstation.folder, "eve") as found:
        yield found


def test_a_certificate_that_the_document_brings(operated: Operated) -> None:
    shown = operated.answer("certificate")["certificate"]
    assert shown["source"] == "document"
    assert shown["fingerprint"] == _fingerprint(operated)
    with pytest.raises(CommandError, match="comes with its cloud-config"):
        operated.ask("certificate", "renew")
    assert "PRIVATE KEY" in operated.document.read_text()
    assert "PRIVATE KEY" not in operated.ask("config")


def test_an_extension_of_another_key_is_refused(operated: Operated, extensions: Extensions) -> None:
    with pytest.raises(CommandError, match="foreign: refused: its signer is unknown to this"):
        extensions.add(operated, "foreign")
    assert "foreign" not in operated.extensions()


def test_an_extension_for_another_release_is_refused(
    operated: Operated, extensions: Extensions
) -> None:
    with pytest.raises(CommandError, match="later: refused: it fits release 2 alone, and this is"):
        extensions.add(operated, "later")
    assert "later" not in operated.extensions()


def test_an_extension_for_this_release_is_merged(operated: Operated) -> None:
    def merged() -> bool | None:
        found = operated.extensions().get("greeting", {})
        return (found.get("source"), found.get("state")) == ("document", "merged") or None

    wait_until(merged, SECONDS, "the document's extension")
    # It was had at once, from a server that this very document vouches for.
    assert operated.answer("status")["agents"]["config"]["faults"] == []
    restarts = "systemctl show --property NRestarts --value bedplate-config-network.service"
    assert operated.guest.host.check_output(restarts) == "0"


def test_a_host_follows_a_new_root(operated: Operated, site: Site, updates: Path) -> None:
    operated.ask("check")
    before = _root(operated)
    assert before["version"] == 1
    where = ("--repository", str(updates), "--keys", str(site.keys))
    bedplate("release", "rotate", "root", "--add", "spare-1", "--remove", "root-1", *where)
    assert _root(operated) == before
    operated.ask("check")
    after = _root(operated)
    assert after["version"] == 2
    assert len(set(after["keys"]) - set(before["keys"])) == 1
    assert len(set(before["keys"]) - set(after["keys"])) == 1


def test_logs_are_followed_across_a_reboot(
    operated: Operated, asker: Asker, tmp_path: Path
) -> None:
    """The reboot that gives the host the next authority, too: the first step of its rotation."""
    folder = operated.workstation.folder
    for name in ("eve.pem", "eve.key", "ca.pem"):
        shutil.copy2(folder / name, folder / f"former-{name}")
    operated.workstation.pki("rotate")
    operated.workstation.brought(_NAME, _ADDRESS)
    following = operated.workstation.following(operated.guest, _NAME, tmp_path / "followed")
    with following as written:
        first = wait_until(lambda: next(iter(_entries(written())), None), SECONDS, "an entry")
        operated.ask("reboot", *REBOOT)
        found = _logs(operated, "--boot", "-1", "--since", first["time"]) + _logs(operated)
        expected = found[found.index(first) :]
        assert len({each["boot"] for each in expected}) == 2

        def caught_up() -> list[dict[str, Any]] | None:
            """As many as there were; one more or less is in the wrong place."""
            followed = _entries(written())[: len(expected)]
            return followed if len(followed) == len(expected) else None

        assert wait_until(caught_up, SECONDS, "what was written meanwhile") == expected
        assert "; going on" in written()
    assert gaps(asker.asked) == []


def test_an_extension_for_the_release_before_is_refused_after_an_update(
    operated: Operated, site: Site, updates: Path, asker: Asker
) -> None:
    """With the boot in which the next authority's certificate is the host's: the second step."""
    workstation = operated.workstation
    site.offer(updates, site.release("2"))
    operated.stage()
    workstation.pki("rotate", "--use")
    workstation.pki("renew", "--all")
    workstation.brought(_NAME, _ADDRESS)
    operated.ask("reboot", *REBOOT)
    operated.guest.wait_until_good("2")
    found = operated.extensions()
    assert found["greeting"]["state"] == "refused"
    assert found["greeting"]["reason"].startswith("it fits release 1 alone, and this is 2")
    assert found["developer"]["state"] == "merged"
    assert _root(operated)["version"] == 2
    assert operated.answer("certificate")["certificate"]["fingerprint"] == _fingerprint(operated)
    # Who has not been given a new one yet, and who has.
    assert operated.ask("status", who="former-eve")
    assert operated.ask("status", who="eve")
    assert gaps(asker.asked) == []


def test_the_former_authority_is_nobody_at_the_end(operated: Operated, asker: Asker) -> None:
    """The third step; nobody who had what was given out in time has seen a gap."""
    workstation = operated.workstation
    workstation.pki("rotate", "--finish")
    workstation.brought(_NAME, _ADDRESS)
    operated.ask("reboot", *REBOOT)
    assert operated.answer("certificate")["certificate"]["fingerprint"] == _fingerprint(operated)
    ours = str(workstation.folder / "ca.pem")
    with pytest.raises(CommandError, match="refuses our certificate"):
        operated.ask("status", "--ca-file", ours, who="former-eve")
    former = str(workstation.folder / "former-ca.pem")
    with pytest.raises(CommandError, match="its certificate is not trusted"):
        operated.ask("status", "--ca-file", former, who="eve")
    now = operated.answer("status")["host"]["boot_id"]
    wait_until(lambda: asker.boots[-1] == now or None, SECONDS, "an answer of the last boot")
    assert len(asker.boots) == 4
    assert gaps(asker.asked) == []


def _fingerprint(operated: Operated) -> str:
    """Of the certificate that the workstation issued last."""
    pem = (operated.workstation.folder / f"{_NAME}.pem").read_bytes()
    found = x509.load_pem_x509_certificate(pem).fingerprint(SHA256())
    return f"SHA256:{found.hex(':').upper()}"


def _root(operated: Operated) -> dict[str, Any]:
    roles: list[dict[str, Any]] = operated.answer("trust")["roles"]
    return next(each for each in roles if each["role"] == "root")


def _logs(operated: Operated, *words: str) -> list[dict[str, Any]]:
    return _entries(operated.ask("logs", *words, "--json"))


def _entries(text: str) -> list[dict[str, Any]]:
    """Those that are whole, without what the program says beside them."""
    lines = text.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]
