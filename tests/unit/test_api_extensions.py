"""Extensions until the next boot: on a host that is a folder, with a systemd that is a function."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from builder.extension import Signer
from builder.extension_cli import read_signer
from builder.trust.certificates import EXTENSIONS, generate_pair
from cloudconfig import extensions as installed
from cloudconfig import host, intake, transfer
from cloudconfig.extensionimage import Fits, Note, read_image
from cloudconfig.host import Stage
from cloudconfig.places import Places
from extension_kit import NOTE, extension, merged, release
from hostapi import contract
from hostapi.acts import extensions
from trust_kit import CHEAP, PASSPHRASE
from updater.errors import BedplateError, InputError
from updater.programs import ProgramError
from updater.store import BusyError, locked

URL = "https://h.org/hunter2/greeting.raw"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Signer]:
    made: dict[str, Signer] = {}

    def get(name: str) -> Signer:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            generate_pair(folder, EXTENSIONS, PASSPHRASE, CHEAP)
            (folder / "passphrase").write_text(PASSPHRASE)
            made[name] = read_signer(folder, folder / "passphrase")
        return made[name]

    return get


@dataclass(slots=True)
class Kit:
    """A host; `served` is what its server has, `broken` makes systemd-sysext fail."""

    places: Places
    signer: Signer
    stranger: Signer
    served: dict[str, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    broken: bool = False
    blind: bool = False  # it succeeds, and merges nothing new

    @property
    def root(self) -> Path:
        return self.places.root

    def serve(self, note: Note = NOTE, signer: Signer | None = None) -> str:
        path = extension(self.root / "served.raw", signer or self.signer, note)
        self.served[URL] = path.read_bytes()
        path.unlink()
        return hashlib.sha256(self.served[URL]).hexdigest()

    def fetch(
        self, url: str, sha256: str, headers: Mapping[str, str], limit: int, proxies: object
    ) -> bytes:
        del headers, limit, proxies
        if hashlib.sha256(self.served[url]).hexdigest() != sha256:
            raise transfer.TransferError("https://h.org: its SHA-256 is another")
        return self.served[url]

    def run(self, argv: Sequence[str], *, time_out: float = 1.0) -> str:
        assert time_out > 0
        self.told.append(" ".join(argv))
        if argv[0] == "journalctl":
            return "Failed to frobnicate\nNo such key\n"
        if argv[1:] == ("start", "bedplate-extensions-merge.service"):
            if self.broken:
                raise ProgramError("`systemctl start` ended with 1")
            if self.blind:
                installed.leave_laid(self.places)
            else:
                self.merge()
        return ""

    def merge(self) -> None:
        """What systemd-sysext(8) would: the first of a name wins, an empty folder hides one."""
        names: dict[str, Path | None] = {}
        for folder in ("etc/extensions", "run/extensions", "var/lib/extensions"):
            for path in (self.root / folder).glob("*"):
                names.setdefault(path.name.removesuffix(".raw"), None if path.is_dir() else path)
        found = [name for name, path in names.items() if path and read_image(path).note]
        merged(self.root, *sorted(found))
        wants = self.root / "usr/lib/systemd/system/bedplate-extensions.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        for path in wants.iterdir():
            path.unlink()
        for name in found:
            (wants / f"{name}.service").touch()
        installed.leave_laid(self.places)

    def states(self) -> dict[str, tuple[str, str]]:
        found = extensions.listed(self.places)
        return {each.name: (each.state.value, each.source.value) for each in found}

    def reboot(self) -> None:
        for path in sorted((self.root / "etc/extensions").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.merge()

    def leftovers(self) -> list[str]:
        folders = ("etc/extensions", "var/lib/bedplate/extensions")
        return [path.name for folder in folders for path in (self.root / folder).glob("*")]


@pytest.fixture
def kit(tmp_path: Path, keys: Callable[[str], Signer], monkeypatch: pytest.MonkeyPatch) -> Kit:
    made = Kit(Places(tmp_path), keys("ours"), keys("stranger"))
    release(tmp_path, made.signer.certificate.public_bytes(Encoding.PEM))
    monkeypatch.setattr(extensions, "run", made.run)
    monkeypatch.setattr(extensions, "show_unit", lambda *_: {"InvocationID": "abc"})
    monkeypatch.setattr(transfer, "fetch_pinned", made.fetch)
    return made


def test_the_table_is_the_contracts() -> None:
    known = {each.name for each in contract.ENDPOINTS if each.act}
    assert {"extensions", "extension-add", "extension-remove"} == set(extensions.ACTS) <= known


def test_one_is_added_and_taken_away_again(kit: Kit) -> None:
    sha256 = kit.serve()
    assert kit.states() == {}
    assert extensions.add("greeting", URL, sha256, kit.places) == (
        "greeting is merged until the next boot"
    )
    assert kit.states() == {"greeting": ("merged", "api")}
    assert kit.told == [
        "systemctl start bedplate-extensions-merge.service",
        "systemctl daemon-reload",
        "systemctl --no-block start bedplate-extensions.target greeting.service",
    ]
    kept = kit.root / "var/lib/bedplate/extensions/greeting.raw"
    assert kept.stat().st_mode & 0o777 == 0o600
    kit.told.clear()
    assert extensions.remove("greeting", kit.places) == "greeting is taken away"
    assert kit.told == [
        "systemctl start bedplate-extensions-merge.service",
        "systemctl stop greeting.service",
        "systemctl daemon-reload",
    ]
    assert kit.states() == {}
    assert kit.leftovers() == []


def test_a_boot_takes_away_what_was_added(kit: Kit) -> None:
    extensions.add("greeting", URL, kit.serve(), kit.places)
    kit.reboot()
    assert kit.states() == {}


@pytest.mark.parametrize("folder", ["var/lib/extensions", "run/extensions"])
def test_one_of_others_is_hidden_until_the_next_boot(kit: Kit, folder: str) -> None:
    extension(kit.root / folder / "greeting.raw", kit.signer)
    kit.merge()
    source = "document" if "var" in folder else "disk"
    assert kit.states() == {"greeting": ("merged", source)}
    said = extensions.remove("greeting", kit.places)
    assert said.endswith("brings it again")
    assert source in said
    assert kit.states() == {"greeting": ("absent", source)}
    with pytest.raises(FileNotFoundError, match="no such extension"):
        extensions.remove("greeting", kit.places)
    # Another of its name may take its place as long.
    extensions.add("greeting", URL, kit.serve(), kit.places)
    assert kit.states() == {"greeting": ("merged", "api")}
    kit.reboot()
    assert kit.states() == {"greeting": ("merged", source)}


def test_there_is_one_of_a_name(kit: Kit) -> None:
    extension(kit.root / "var/lib/extensions/greeting.raw", kit.signer)
    kit.merge()
    with pytest.raises(InputError, match="there is one already, by the document"):
        extensions.add("greeting", URL, kit.serve(), kit.places)
    assert kit.leftovers() == []


def test_who_is_not_there_is_missing(kit: Kit) -> None:
    with pytest.raises(FileNotFoundError, match="nobody: there is no such extension"):
        extensions.remove("nobody", kit.places)


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (Note("greeting", "1", Fits.RELEASE, "1"), "it fits release 1 alone, and this is 2"),
        (Note("greeting", "1", Fits.SUITE, "forky"), "this is one of trixie"),
        (Note("other", "1", Fits.SUITE, "trixie"), "it is called other"),
    ],
)
def test_what_does_not_fit_is_refused_before_systemd_is_asked(
    kit: Kit, note: Note, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        extensions.add("greeting", URL, kit.serve(note), kit.places)
    assert kit.told == []
    assert kit.leftovers() == []


def test_a_stranger_is_refused(kit: Kit) -> None:
    with pytest.raises(InputError, match="greeting: refused: its signer is unknown"):
        extensions.add("greeting", URL, kit.serve(signer=kit.stranger), kit.places)
    assert kit.leftovers() == []


def test_what_is_no_extension_is_refused(kit: Kit) -> None:
    kit.served[URL] = b"x" * 5000
    sha256 = hashlib.sha256(kit.served[URL]).hexdigest()
    with pytest.raises(InputError, match="greeting: no image of an extension"):
        extensions.add("greeting", URL, sha256, kit.places)
    assert kit.leftovers() == []


def test_another_hash_never_gets_a_name(kit: Kit) -> None:
    kit.serve()
    with pytest.raises(BedplateError, match="its SHA-256 is another"):
        extensions.add("greeting", URL, "0" * 64, kit.places)
    assert kit.leftovers() == []


@pytest.mark.parametrize("how", ["broken", "blind"])
def test_what_systemd_refuses_is_taken_back(kit: Kit, how: str) -> None:
    setattr(kit, how, True)
    with pytest.raises(InputError, match=r"refused: .*Failed to frobnicate \| No such key"):
        extensions.add("greeting", URL, kit.serve(), kit.places)
    assert kit.leftovers() == []
    assert "journalctl --quiet --output=cat --lines=4 _SYSTEMD_INVOCATION_ID=abc" in kit.told


def test_one_that_was_hidden_stays_so_when_its_heir_is_refused(kit: Kit) -> None:
    extension(kit.root / "var/lib/extensions/greeting.raw", kit.signer)
    kit.merge()
    extensions.remove("greeting", kit.places)
    kit.broken = True
    with pytest.raises(InputError, match="refused"):
        extensions.add("greeting", URL, kit.serve(), kit.places)
    assert kit.states() == {"greeting": ("absent", "document")}


@pytest.mark.parametrize("source", ["api", "document"])
def test_what_cannot_be_taken_away_stays(kit: Kit, source: str) -> None:
    if source == "api":
        extensions.add("greeting", URL, kit.serve(), kit.places)
    else:
        extension(kit.root / "var/lib/extensions/greeting.raw", kit.signer)
        kit.merge()
    kit.broken = True
    with pytest.raises(BedplateError, match="systemd-sysext failed"):
        extensions.remove("greeting", kit.places)
    assert kit.states() == {"greeting": ("merged", source)}


def test_one_change_at_a_time(kit: Kit) -> None:
    lock = kit.root / "run/bedplate/extensions.lock"
    with locked(lock, wait=True), pytest.raises(BusyError, match="another change of extensions"):
        extensions.add("greeting", URL, kit.serve(), kit.places)


def test_what_the_document_declares_is_listed_before_it_is_there(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_settle", lambda: None)
    (kit.root / "etc").mkdir()
    (kit.root / "etc/passwd").write_text("root:x:0:0::/:/x\n")
    (kit.root / "etc/group").write_text("root:x:0:\n")
    credential = kit.root / "run/credentials/@system/bedplate.cloud-config"
    credential.parent.mkdir(parents=True)
    credential.write_text(
        "#cloud-config\nbedplate:\n  extensions:\n"
        f"    - {{name: etcd, url: {URL}, sha256: {'a' * 64}}}\n"
    )
    found, status = intake.take(kit.places, Stage.EARLY)
    prepared = host.prepare(found, kit.places, status)
    host.apply(prepared, kit.places, Stage.EARLY, systemctl=lambda _argv: None)
    [listed] = extensions.listed(kit.places)
    assert listed.plain() == {
        "name": "etcd",
        "version": "",
        "state": "absent",
        "reason": "not fetched yet",
        "source": "document",
    }
    assert "hunter2" not in json.dumps(listed.plain())
