"""Signing, publishing and listing extensions, by the commands that people give."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml

from builder.cli import main
from builder.extension import Signer
from builder.extension_cli import read_signer
from builder.extension_publish import Published, newest, parse_index, publish
from builder.extension_sign import check, sign_image
from builder.serve import serving
from builder.trust.certificates import EXTENSIONS, generate_pair
from cloudconfig.document import read_document
from cloudconfig.extensionimage import ExtensionError, Fits, Note, read_image
from extension_kit import NOTE, SECTOR, extension
from trust_kit import CHEAP, PASSPHRASE
from updater import gpt
from updater.errors import InputError


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    found = []
    for name in ("ours", "stranger"):
        folder = tmp_path_factory.mktemp(name)
        generate_pair(folder, EXTENSIONS, PASSPHRASE, CHEAP)
        found.append(folder)
    return found[0], found[1]


@pytest.fixture(autouse=True)
def _passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEDPLATE_PASSPHRASE", PASSPHRASE)


@pytest.fixture
def signer(stores: tuple[Path, Path]) -> Signer:
    return read_signer(stores[0], None)


def damage(path: Path, number: int) -> None:
    """Change a byte in the middle of a partition, counted from 1."""
    entry = gpt.read(path).entries[number - 1]
    data = bytearray(path.read_bytes())
    data[entry.first * SECTOR + 5000] ^= 1
    path.write_bytes(data)


def test_an_unsigned_one_is_signed_in_its_place(tmp_path: Path, stores: tuple[Path, Path]) -> None:
    path = extension(tmp_path / "greeting.raw", None)
    mode = path.stat().st_mode
    assert main(["extension", "sign", str(path), "--keys", str(stores[0])]) == 0
    found = check(path)
    assert (found.note, found.signer is None) == (NOTE, False)
    assert path.stat().st_mode == mode
    # As if it had been signed when it was built.
    assert (
        path.read_bytes()
        == extension(tmp_path / "other.raw", read_signer(stores[0], None)).read_bytes()
    )
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_signing_again_changes_nothing(
    tmp_path: Path, stores: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = extension(tmp_path / "greeting.raw", read_signer(stores[0], None))
    before = path.read_bytes()
    assert main(["extension", "sign", str(path), "--keys", str(stores[0]), "--json"]) == 0
    assert path.read_bytes() == before
    assert json.loads(capsys.readouterr().out)["signed"] == [{"file": str(path), "new": False}]
    assert main(["extension", "sign", str(path), "--keys", str(stores[1])]) == 2
    assert "signed by another key already" in capsys.readouterr().err
    assert path.read_bytes() == before


@pytest.mark.parametrize("number", [1, 2])
def test_what_is_damaged_is_not_signed(tmp_path: Path, signer: Signer, number: int) -> None:
    path = extension(tmp_path / "greeting.raw", None)
    damage(path, number)
    with pytest.raises(ExtensionError, match="damaged"):
        sign_image(path, signer)
    assert read_image(path).signer is None


@pytest.mark.parametrize(("note", "room"), [(None, 16384), (NOTE, 512)])
def test_what_has_no_room_is_built_anew(
    tmp_path: Path, signer: Signer, note: Note | None, room: int
) -> None:
    path = extension(tmp_path / "greeting.raw", None, note, room=room)
    with pytest.raises(ExtensionError, match="no room for a signature; build it anew"):
        sign_image(path, signer)


def test_what_is_published_can_be_listed_and_asked_for(
    tmp_path: Path, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    path = extension(tmp_path / "greeting.raw", signer)
    folder = tmp_path / "web"
    assert main(["extension", "publish", str(folder), str(path)]) == 0
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    name = f"greeting_1_{sha256[:16]}.raw"
    assert {each.name for each in folder.iterdir()} == {name, "extensions.json"}
    assert (folder / name).read_bytes() == path.read_bytes()
    assert (folder / name).stat().st_mode & 0o777 == 0o644
    capsys.readouterr()

    assert main(["extension", "list", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "greeting" in out
    assert "trixie" in out
    assert main(["extension", "list", str(folder), "--json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)["extensions"]
    assert listed["sha256"] == sha256
    assert listed["size"] == path.stat().st_size
    assert listed["fits"] == {"kind": "suite", "of": "trixie"}
    asked = ["--cloud-config", "--url", "https://h.org/ext/"]
    assert main(["extension", "list", str(folder), *asked]) == 0
    text = capsys.readouterr().out
    config = read_document(f"#cloud-config\n{text}".encode(), Path("it")).config
    [declared] = config.bedplate.extensions
    assert declared.name == "greeting"
    assert declared.url == f"https://h.org/ext/{name}"
    assert declared.sha256 == sha256
    assert yaml.safe_load(text)["bedplate"]["extensions"][0]["sha256"] == sha256
    assert main(["extension", "list", str(folder), "--cloud-config"]) == 2
    assert "--url: missing" in capsys.readouterr().err
    assert main(["extension", "list", str(folder), "nobody", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["extensions"] == []


def test_a_server_is_listed_like_a_folder(
    tmp_path: Path, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "web"
    publish(folder, [extension(tmp_path / "greeting.raw", signer)])
    with serving(folder) as server:
        for url in (server.url, f"{server.url}/", f"{server.url}/extensions.json"):
            assert main(["extension", "list", url, "--cloud-config"]) == 0
            assert f"url: {server.url}/greeting_1_" in capsys.readouterr().out
        (folder / "extensions.json").unlink()
        assert main(["extension", "list", server.url]) == 1
        assert "extensions.json: HTTP status 404" in capsys.readouterr().err


def test_publishing_again_adds_what_is_new(tmp_path: Path, signer: Signer) -> None:
    folder = tmp_path / "web"
    one = extension(tmp_path / "one.raw", signer)
    two = extension(tmp_path / "two.raw", signer, Note("greeting", "2", Fits.RELEASE, "7"))
    for files in ([one], [one, two], [two]):
        assert main(["extension", "publish", str(folder), *map(str, files)]) == 0
    found = parse_index((folder / "extensions.json").read_bytes(), "it")
    assert [(each.note.version, each.note.of) for each in found] == [("1", "trixie"), ("2", "7")]
    assert len(list(folder.iterdir())) == 3


def test_nothing_is_published_beside_one_that_is_wrong(
    tmp_path: Path, signer: Signer, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "web"
    right, unsigned = extension(tmp_path / "a.raw", signer), extension(tmp_path / "b.raw", None)
    damaged = extension(tmp_path / "c.raw", signer)
    damage(damaged, 1)
    for wrong, why in ((unsigned, "not signed, so no host takes it"), (damaged, "damaged")):
        assert main(["extension", "publish", str(folder), str(right), str(wrong)]) == 2
        assert why in capsys.readouterr().err
    assert main(["extension", "publish", str(folder), str(tmp_path / "none.raw")]) == 2
    assert "not found" in capsys.readouterr().err
    assert not folder.exists()


def test_a_damaged_index_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "extensions.json").write_text('{"schema": 1}')
    assert main(["extension", "list", str(tmp_path)]) == 2
    assert "extensions.json: key 'extensions' is missing" in capsys.readouterr().err
    shutil.rmtree(tmp_path)
    assert main(["extension", "list", str(tmp_path)]) == 2
    assert "not found; `bedplate extension publish` makes it" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["../a.raw", "a/b.raw", ".a", ""])
def test_an_index_names_no_file_elsewhere(file: str) -> None:
    entry = NOTE.plain() | {"file": file, "size": 1, "sha256": "a" * 64, "signer": "b" * 64}
    data = json.dumps({"schema": 1, "extensions": [entry]}).encode()
    with pytest.raises(InputError, match="a plain file name"):
        parse_index(data, "it")


def offer(version: str, fits: Fits = Fits.SUITE, of: str = "trixie") -> Published:
    note = Note("greeting", version, fits, of)
    return Published(note, f"{version}_{of}.raw", 1, "a" * 64, "b" * 64)


def test_the_newest_that_fits_is_asked_for() -> None:
    old, new, odd = offer("1.9"), offer("1.10"), offer("rc1")
    assert newest([odd, new, old]) == (new,)
    seven, eight = offer("2", Fits.RELEASE, "7"), offer("2", Fits.RELEASE, "8")
    assert newest([new, seven, eight], "7") == (seven,)
    assert newest([new, seven, eight], "9") == (new,)
    assert newest([seven, eight]) == (eight,)
