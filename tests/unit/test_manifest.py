import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_samples import image_of, make_release
from updater import manifest
from updater.strict import FormatError


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    release = make_release(tmp_path, image_of([1, 2, 3, 0, 5, 6]))
    parsed: dict[str, Any] = json.loads(release.manifest.render())
    return parsed


def parse(document: object) -> manifest.ReleaseManifest:
    return manifest.parse(json.dumps(document).encode())


def test_a_manifest_survives_rendering_and_is_canonical(document: dict[str, Any]) -> None:
    parsed = parse(document)
    assert manifest.parse(parsed.render()) == parsed
    assert manifest.parse(parsed.render()).render() == parsed.render()
    assert parsed.root.chunks == 2
    assert parsed.root.size == 6 * 4096


CHANGES: list[tuple[tuple[str, ...], object]] = [
    (("schema",), 2),
    (("schema",), True),
    (("image",), "Bed plate"),
    (("version",), "1.x"),
    (("version",), 2),
    (("architecture",), "pdp11"),
    (("built",), "2026-11-22"),
    (("built",), "2026-13-22T00:00:00Z"),
    (("minimum_version",), "3"),
    (("root",), []),
    (("root", "hash"), "AB" * 32),
    (("root", "hash"), "ab" * 31),
    (("root", "salt"), "abc"),
    (("root", "salt"), "ab" * 257),
    (("root", "block_size"), 512),
    (("root", "blocks"), 1),
    (("root", "blocks"), 512 * 1024 + 1),  # more than 2 GiB
    (("root", "blocks"), 6.0),
    (("root", "chunk_blocks"), 0),
    (("artefacts", "tree", "path"), "../root.verity"),
    (("artefacts", "tree", "path"), ".hidden"),
    (("artefacts", "tree", "path"), "root.index"),
    (("artefacts", "tree", "length"), 10**7),
    (("artefacts", "wire", "length"), 0),
    (("artefacts", "wire", "length"), 10**7),
    (("artefacts", "uki", "length"), 10**10),
    (("artefacts", "index", "length"), 4),
    (("artefacts", "uki", "sha256"), "nothing"),
    (("artefacts", "uki", "sha256"), None),
]


@pytest.mark.parametrize(("path", "value"), CHANGES)
def test_absurd_values_are_refused_by_key(
    document: dict[str, Any], path: tuple[str, ...], value: object
) -> None:
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(FormatError, match=path[-1]):
        parse(document)


@pytest.mark.parametrize("path", [(), ("root",), ("artefacts",), ("artefacts", "wire")])
def test_unknown_and_missing_keys_are_refused(
    document: dict[str, Any], path: tuple[str, ...]
) -> None:
    inner = document
    for key in path:
        inner = inner[key]
    inner["colour"] = "red"
    with pytest.raises(FormatError, match="unknown key 'colour'"):
        parse(document)
    del inner["colour"]
    gone = next(iter(inner))
    del inner[gone]
    with pytest.raises(FormatError, match=f"key '{gone}' is missing"):
        parse(document)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no valid JSON"),
        (b"[]", "expected an object"),
        (b"\xff", "no valid JSON"),
        (b'{"schema": NaN}', "no JSON number"),
        (b'{"schema": 1, "schema": 1}', "given twice"),
        (b"[" * 60000, "no valid JSON"),
        (b" " * 65537, "more than the 65536"),
        (b'{"a": ' + b"9" * 5000 + b"}", "no valid JSON"),
    ],
)
def test_what_is_no_document_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        manifest.parse(data)


@given(st.binary(max_size=200))
def test_rubbish_never_gives_another_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        manifest.parse(data)
