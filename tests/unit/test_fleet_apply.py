"""Manifests into etcd: looked at as a whole before anything is written."""

import io
from pathlib import Path

import pytest

from builder.fleet.apply import Change, Step, check_names, plan, put, read_manifests, told
from fleet_kit import FleetEtcd, text, web
from podagent.cluster.records import ROOT, manifest_key
from pods_manifests import Tree, daemon_set, pod
from updater.errors import BedplateError, InputError

NOTHING = io.BytesIO(b"")


def named(tree: Tree, name: str) -> Tree:
    return tree | {"metadata": tree["metadata"] | {"name": name}}


def planned(etcd: FleetEtcd, folder: Path, *trees: Tree) -> tuple[Step, ...]:
    files = []
    for number, tree in enumerate(trees):
        files.append(folder / f"{number}.yaml")
        files[-1].write_bytes(text(tree))
    texts = {item.key: item.value for item in etcd.list(f"{ROOT}pods/").items}
    return plan(read_manifests(files, NOTHING), etcd.view(), texts)


def changes(steps: tuple[Step, ...]) -> list[Change]:
    return [step.change for step in steps]


def test_what_is_new_changed_or_as_it_was_is_told_apart(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    assert changes(planned(etcd, tmp_path, web())) == [Change.CREATED]
    etcd.apply(web())
    assert changes(planned(etcd, tmp_path, web())) == [Change.UNCHANGED]
    assert changes(planned(etcd, tmp_path, web(5))) == [Change.RESTATED]
    assert changes(planned(etcd, tmp_path, web(image="r/web:2"))) == [Change.CHANGED]
    (step,) = planned(etcd, tmp_path, web(5))
    assert told(step, dry_run=False) == "web: changed; its pods stay as they are"
    assert told(step, dry_run=True) == "web: would be changed; its pods stay as they are"


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    etcd.apply(web())
    revision = etcd.revision
    for step in planned(etcd, tmp_path, web(), named(daemon_set(), "agent")):
        put(etcd, step)
    assert etcd.revision == revision + 1
    assert etcd.keys[manifest_key("agent")].value == text(named(daemon_set(), "agent"))
    assert etcd.keys[manifest_key("agent")].lease == 0


def test_a_refused_manifest_in_etcd_can_be_replaced(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    etcd.put(manifest_key("web"), b"kind: Job\n")
    (step,) = planned(etcd, tmp_path, web())
    put(etcd, step)
    assert etcd.view().workloads["web"].refused == ""


def test_anothers_change_is_not_overwritten(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    etcd.apply(web())
    steps = planned(etcd, tmp_path, web(3))
    etcd.apply(web(9))
    with pytest.raises(BedplateError, match="changed by another just now"):
        put(etcd, steps[0])
    assert etcd.keys[manifest_key("web")].value == text(web(9))


def test_all_faults_of_all_files_are_told(tmp_path: Path) -> None:
    bad = web()
    bad["spec"]["template"]["spec"]["containers"][0]["tty"] = True
    (tmp_path / "bad.yaml").write_bytes(text(bad))
    (tmp_path / "good.yaml").write_bytes(text(web()))
    files = [tmp_path / "bad.yaml", tmp_path / "good.yaml", tmp_path / "gone.yaml"]
    with pytest.raises(InputError) as caught:
        read_manifests(files, NOTHING)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path}/bad.yaml:")
    assert "spec.template.spec.containers[0].tty: 'tty' is not supported" in first
    assert second == f"{tmp_path}/gone.yaml: no such file"


def test_a_workload_is_given_once(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_bytes(text(web()))
    with pytest.raises(InputError, match=r"b\.yaml: web is in .*a\.yaml already"):
        read_manifests([tmp_path / "a.yaml", tmp_path / "b.yaml"], NOTHING)


def test_stdin_is_a_file_too() -> None:
    (wanted,) = read_manifests([Path("-")], io.BytesIO(text(web())))
    assert wanted.manifest.name == "web"
    with pytest.raises(InputError, match=r"<stdin>:1:7: kind: Job is not supported"):
        read_manifests([Path("-")], io.BytesIO(b"kind: Job\n"))


def test_more_than_a_manifest_may_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_bytes(text(web()) + b"#" * (1 << 20))
    with pytest.raises(InputError, match=r"large\.yaml:1:1: longer than the 1048576 bytes"):
        read_manifests([tmp_path / "large.yaml"], NOTHING)


def test_a_replicas_name_is_no_other_workloads(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    etcd.apply(named(pod(), "web-1"))
    with pytest.raises(InputError, match=r"0\.yaml: the workload web-1 .* replica 1 of web"):
        planned(etcd, tmp_path, web(2))
    assert changes(planned(etcd, tmp_path, web(1))) == [Change.CREATED]
    with pytest.raises(InputError, match=r"1\.yaml: the workload web-0 "):
        planned(etcd, tmp_path, web(1), named(pod(), "web-0"))
    planned(etcd, tmp_path, web(1), named(pod(), "web-00"))


def test_others_clashes_do_not_stop_us(tmp_path: Path) -> None:
    etcd = FleetEtcd()
    etcd.apply(web(2))
    etcd.apply(named(pod(), "web-1"))
    assert changes(planned(etcd, tmp_path, named(pod(), "other"))) == [Change.CREATED]


def test_names_that_are_not_there_are_refused_with_the_nearest() -> None:
    check_names(["web"], ["db", "web"])
    with pytest.raises(BedplateError, match=r"called wbe; did you mean web\?; nothing was deleted"):
        check_names(["db", "wbe"], ["db", "web"])
