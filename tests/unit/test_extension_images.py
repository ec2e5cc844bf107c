"""What an extension's image says of itself, and what a host makes of it."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from builder.extension import Signer
from builder.extension_cli import read_signer
from builder.trust.certificates import EXTENSIONS, generate_pair
from cloudconfig import cli, extensions
from cloudconfig.extensionimage import (
    ExtensionError,
    Fits,
    Image,
    Note,
    Partition,
    extension_release,
    read_image,
    read_note,
)
from cloudconfig.extensions import Extension, Given, Seen, Source, State, judge
from cloudconfig.places import Places
from extension_kit import NOTE, extension, merged, release, signature
from trust_kit import CHEAP, PASSPHRASE
from updater.host import parse_os_release
from updater.strict import FormatError

SIGNER = "ab" * 32
WHOLE = Partition(0, 0)


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    folder = tmp_path_factory.mktemp("keys")
    generate_pair(folder, EXTENSIONS, PASSPHRASE, CHEAP)
    (folder / "passphrase").write_text(PASSPHRASE)
    return read_signer(folder, folder / "passphrase")


@pytest.fixture
def places(tmp_path: Path, signer: Signer) -> Places:
    release(tmp_path, signer.certificate.public_bytes(Encoding.PEM))
    return Places(tmp_path)


def image(note: Note | None = NOTE, signer: str | None = SIGNER) -> Image:
    return Image("cd" * 32, signer, note, WHOLE, WHOLE, WHOLE)


def seen(found: Image | str, *, merged: bool = False) -> Seen:
    return Seen(
        given={"greeting": Given(Source.DISK, found)},
        merged={"greeting": "7"} if merged else {},
        release={"VERSION_ID": "2", "SYSEXT_LEVEL": "trixie"},
        signers=frozenset({SIGNER}),
    )


def test_what_is_signed_says_who_it_is(tmp_path: Path, signer: Signer) -> None:
    found = read_image(extension(tmp_path / "a.raw", signer))
    assert found.note == NOTE
    assert found.signer is not None
    assert len(found.root_hash) == 64
    assert read_image(extension(tmp_path / "b.raw", None)).signer is None
    assert read_image(extension(tmp_path / "c.raw", signer, None)).note is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rootHash": "00" * 32}, "the signature is of another root hash"),
        ({"certificateFingerprint": None}, "names no certificate"),
        ({"certificateFingerprint": 7}, "names no certificate"),
        ({"extension": {"name": "x"}}, "key 'fits' is missing"),
        ({"extension": "x"}, "expected an object"),
    ],
)
def test_a_garbled_signature_is_told(
    tmp_path: Path, signer: Signer, changes: dict[str, object], reason: str
) -> None:
    path = extension(tmp_path / "a.raw", signer)
    signature(path, **changes)
    with pytest.raises(ExtensionError, match=reason):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 100_000, b"not a disk" * 1000])
def test_what_is_no_disk_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.raw").write_bytes(data)
    with pytest.raises(ExtensionError, match="no image of an extension, or damaged"):
        read_image(tmp_path / "a.raw")


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists))
def test_no_garbage_is_a_note(value: object) -> None:
    with pytest.raises(FormatError):
        read_note({"name": "a", "version": "1", "fits": value}, "it")


@given(st.sampled_from(Fits), st.sampled_from(["trixie", "2026.11.1"]))
def test_a_note_is_read_as_it_was_written(fits: Fits, of: str) -> None:
    note = Note("etcd", "3.5.16", fits, of)
    assert read_note(note.plain(), "it") == note


@pytest.mark.parametrize(
    ("fits", "of", "host", "taken"),
    [
        (Fits.SUITE, "trixie", {"VERSION_ID": "9", "SYSEXT_LEVEL": "trixie"}, True),
        (Fits.SUITE, "forky", {"VERSION_ID": "9", "SYSEXT_LEVEL": "trixie"}, False),
        (Fits.RELEASE, "9", {"VERSION_ID": "9", "SYSEXT_LEVEL": "trixie"}, True),
        (Fits.RELEASE, "8", {"VERSION_ID": "9", "SYSEXT_LEVEL": "trixie"}, False),
    ],
)
def test_we_say_what_systemd_decides(
    fits: Fits, of: str, host: dict[str, str], *, taken: bool
) -> None:
    """Its rule: both levels, if there are both; else both versions (extension-util.c)."""
    note = Note("greeting", "1", fits, of)
    own = parse_os_release(extension_release(note))
    by_level = "SYSEXT_LEVEL" in own and "SYSEXT_LEVEL" in host
    word = "SYSEXT_LEVEL" if by_level else "VERSION_ID"
    assert (own.get(word) == host[word]) is taken
    reason = extensions.misfit("greeting", Given(Source.DISK, image(note)), host)
    assert (reason == "") is taken
    assert own["ID"] == "bedplate"


def test_merged_is_merged() -> None:
    [found] = judge(seen(image(), merged=True), {})
    assert found == Extension("greeting", "7", State.MERGED, "", Source.DISK)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (image(signer=None), "it is not signed"),
        (image(signer="ef" * 32), "its signer is unknown to this release .*efefefefefefefef"),
        ("damaged: its signature is no JSON", "damaged"),
        (image(Note("other", "1", Fits.SUITE, "trixie")), "it is called other"),
        (
            image(Note("greeting", "1", Fits.RELEASE, "1")),
            "it fits release 1 alone, and this is 2; build it for this one",
        ),
        (
            image(Note("greeting", "1", Fits.SUITE, "forky")),
            "it fits releases of forky, and this is one of trixie",
        ),
        (image(), "systemd-sysext did not take it"),
        (image(None), "systemd-sysext did not take it"),
    ],
)
def test_what_is_refused_says_why(found: Image | str, reason: str) -> None:
    [judged] = judge(seen(found), {})
    assert judged.state is State.REFUSED
    assert re.search(reason, judged.reason)


def test_one_that_is_refused_keeps_the_others_away() -> None:
    given = {
        "bad": Given(Source.DISK, image(Note("bad", "1", Fits.SUITE, "trixie"), signer=None)),
        "good": Given(Source.DOCUMENT, image(Note("good", "1", Fits.SUITE, "trixie"))),
    }
    bad, good = judge(Seen(given, signers=frozenset({SIGNER})), {})
    assert bad.reason == "it is not signed"
    assert good.state is State.REFUSED
    # Nobody is told of a SYSEXT_LEVEL here, so that is what it says first.
    trixie = {"SYSEXT_LEVEL": "trixie"}
    _, good = judge(Seen(given, release=trixie, signers=frozenset({SIGNER})), {})
    assert good.reason == "systemd-sysext merges all or none, and refuses bad"


def test_what_is_declared_and_not_there_is_absent() -> None:
    [found] = judge(Seen(), {"etcd": "not fetched yet"})
    assert found == Extension("etcd", "", State.ABSENT, "not fetched yet", Source.DOCUMENT)


def test_the_folders_are_looked_through_in_systemds_order(places: Places, signer: Signer) -> None:
    root = places.root
    for name in ("one", "two", "three"):
        note = Note(name, "1", Fits.SUITE, "trixie")
        extension(root / f"var/lib/extensions/{name}.raw", signer, note)
    extension(root / "run/extensions/two.raw", signer)
    extension(root / "etc/extensions/three.raw", signer)
    (root / "etc/extensions/one").mkdir()
    (root / "var/lib/extensions/not ours.raw").write_text("")
    merged(root, "two", "gone")
    found = judge(extensions.observe(places), {})
    assert [(each.name, each.state, each.source) for each in found] == [
        ("gone", State.MERGED, Source.DISK),
        ("one", State.ABSENT, Source.DOCUMENT),
        ("three", State.REFUSED, Source.API),
        ("two", State.MERGED, Source.DISK),
    ]


def test_a_host_without_extensions_has_none(places: Places) -> None:
    assert judge(extensions.observe(places), {}) == ()


def test_refusals_are_told_and_taken_back(
    places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    extension(places.root / "var/lib/extensions/greeting.raw", None)
    extensions.tell(judge(extensions.observe(places), {}), places)
    said = capsys.readouterr().err
    assert said == ("<4>bedplate: extension greeting 1 (document) is refused: it is not signed\n")
    assert places.extensions_note.read_text() == "greeting refused: it is not signed"
    (places.root / "var/lib/extensions/greeting.raw").unlink()
    extensions.tell(judge(extensions.observe(places), {}), places)
    assert not places.extensions_note.exists()


def test_the_hosts_own_command_lists_them(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    extension(places.root / "var/lib/extensions/greeting.raw", None)
    monkeypatch.setattr(cli, "Places", lambda: places)
    assert cli.main(["extensions"]) == 0
    assert capsys.readouterr().out == "greeting 1 (document) is refused: it is not signed\n"
    assert cli.main(["extensions", "--json"]) == 0
    assert '"state": "refused"' in capsys.readouterr().out
