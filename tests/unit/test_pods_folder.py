"""The host's own manifests: read when they change, told when they are wrong."""

import json
import os
from pathlib import Path
from typing import Any

from podagent.folder import Folder


def put(folder: Path, name: str, pod: str = "", **container: Any) -> None:  # noqa: ANN401
    """A manifest, as cloud-config writes it: another file takes its place."""
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod or name},
        "spec": {"containers": [{"name": "main", "image": "localhost/a:1", **container}]},
    }
    new = folder / "new"
    new.write_text(json.dumps(document))
    new.replace(folder / f"{name}.yaml")


def test_there_need_be_no_folder(tmp_path: Path) -> None:
    own, news = Folder(tmp_path / "none").look()
    assert (own.instances, own.refused, news) == ((), {}, True)


def test_news_are_news_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    assert folder.look()[1]
    put(tmp_path, "web")
    (tmp_path / "notes.txt").write_text("not ours")
    own, news = folder.look()
    assert news
    assert [each.id for each in own.instances] == ["web"]
    assert folder.look() == (own, False)
    put(tmp_path, "web", command=["other"])
    changed, news = folder.look()
    assert news
    assert changed.instances[0].manifest.digest != own.instances[0].manifest.digest
    (tmp_path / "web.yaml").unlink()
    assert folder.look()[0].instances == ()


def test_what_is_wrong_is_told_and_what_it_was_before_goes_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    put(tmp_path, "web")
    before = folder.look()[0].instances
    put(tmp_path, "web", cmd=["x"])
    put(tmp_path, "new", cmd=["x"])
    own, news = folder.look()
    assert news
    assert own.instances == before
    assert sorted(own.refused) == ["new.yaml", "web.yaml"]
    assert "spec.containers[0].cmd" in own.refused["new.yaml"]
    assert folder.look() == (own, False)
    put(tmp_path, "web", command=["x"])
    assert list(folder.look()[0].refused) == ["new.yaml"]


def test_a_pod_of_two_files_is_the_first_ones(tmp_path: Path) -> None:
    put(tmp_path, "a", "web", command=["first"])
    put(tmp_path, "b", "web", command=["second"])
    own, _ = Folder(tmp_path).look()
    assert [each.manifest.pod.containers[0].name for each in own.instances] == ["main"]
    assert own.refused == {"b.yaml": f"{tmp_path}/b.yaml: another file has a pod web already"}


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    own, _ = Folder(tmp_path).look()
    assert own.instances == ()
    assert sorted(own.refused) == ["folder.yaml", "gone.yaml", "pipe.yaml"]
    assert "no regular file" in own.refused["pipe.yaml"]


def test_a_manifest_of_more_than_a_mebibyte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_text("#" * ((1 << 20) + 1))
    own, _ = Folder(tmp_path).look()
    assert list(own.refused) == ["big.yaml"]
