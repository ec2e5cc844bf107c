"""An image by the OCI's specification: what it holds, and that it is always the same."""

import hashlib
import json
import tarfile
from io import BytesIO
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from builder.vm.ociimage import Blob, Image, ImageFile, make_image, manifest_of

PROGRAM = ImageFile(PurePosixPath("usr/bin/app"), b"\x7fELF", mode=0o755)
PAGE = ImageFile(PurePosixPath("www/index.html"), b"hello\n")
LINK = ImageFile(PurePosixPath("usr/bin/other"), link="app")


def layer(image: Image) -> dict[str, tuple[bytes, int, bytes | str]]:
    """The members of an image's layer: kind, mode, and content or link."""
    found: dict[str, tuple[bytes, int, bytes | str]] = {}
    with tarfile.open(fileobj=BytesIO(image.parts[-1].data)) as tar:
        for entry in tar:
            assert (entry.uid, entry.gid, entry.mtime) == (0, 0, 0)
            stream = tar.extractfile(entry) if entry.isreg() else None
            found[entry.name] = (
                entry.type,
                entry.mode,
                stream.read() if stream else entry.linkname,
            )
    return found


def test_files_stand_in_their_folders() -> None:
    assert list(layer(make_image([PAGE, PROGRAM, LINK], ["app"])).items()) == [
        ("usr", (tarfile.DIRTYPE, 0o755, "")),
        ("usr/bin", (tarfile.DIRTYPE, 0o755, "")),
        ("usr/bin/app", (tarfile.REGTYPE, 0o755, b"\x7fELF")),
        ("usr/bin/other", (tarfile.SYMTYPE, 0o644, "app")),
        ("www", (tarfile.DIRTYPE, 0o755, "")),
        ("www/index.html", (tarfile.REGTYPE, 0o644, b"hello\n")),
    ]


def test_the_manifest_leads_to_everything() -> None:
    image = make_image([PAGE], ["httpd", "-f"], stop_signal="SIGKILL")
    manifest = json.loads(image.manifest.data)
    assert manifest["schemaVersion"] == 2
    assert manifest["mediaType"] == image.manifest.media_type
    config, one = image.parts
    for blob, told in zip(image.parts, [manifest["config"], *manifest["layers"]], strict=True):
        assert told == {
            "mediaType": blob.media_type,
            "digest": f"sha256:{hashlib.sha256(blob.data).hexdigest()}",
            "size": len(blob.data),
        }
    described = json.loads(config.data)
    assert described["config"] == {"Cmd": ["httpd", "-f"], "StopSignal": "SIGKILL"}
    assert (described["os"], described["architecture"]) == ("linux", "amd64")
    assert described["rootfs"] == {"type": "layers", "diff_ids": [one.digest]}


def test_a_layer_may_be_annotated() -> None:
    config, one = Blob("a/b", b"{}"), Blob("c/d", b"x")
    (told,) = json.loads(manifest_of(config, one, {"key": "value"}).data)["layers"]
    assert told["annotations"] == {"key": "value"}


@given(st.permutations([PROGRAM, PAGE, LINK]))
def test_the_order_of_files_changes_nothing(files: list[ImageFile]) -> None:
    # As it was when this was written: an image is pinned by it.
    digest = "sha256:7941f67611c1a5822058917c0805a294a3375575d8a5702ae7ca486982f66079"
    assert make_image(files, ["app"]).manifest.digest == digest
