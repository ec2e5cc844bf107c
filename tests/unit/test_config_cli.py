import argparse
import errno
import json
import os
from pathlib import Path

import pytest

from builder.config_cli import _ADDRESSES, add_commands
from updater.errors import BedplateError, InputError

RIGHT = "#cloud-config\nhostname: web-1\ncoreos:\n  update: {reboot-strategy: off}\n"
WRONG = "#cloud-config\ngrowpart: {}\nhostnam: a\nntp: {servers: a}\n"
FILES = """\
#cloud-config
write_files:
  - {path: /etc/a, content: b, permissions: "0600"}
  - {path: /etc/a, content: c, append: true}
  - path: /var/lib/d
    source: {uri: "https://example.org/d", sha256: "%s"}
coreos:
  units: [{name: e.service, mask: true}]
""" % ("0" * 64)


def run(*argv: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args([str(each) for each in argv])
    code: int = arguments.func(arguments)
    return code


@pytest.fixture
def right(tmp_path: Path) -> Path:
    file = tmp_path / "right.yaml"
    file.write_text(RIGHT)
    return file


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    file = tmp_path / "wrong.yaml"
    file.write_text(WRONG)
    return file


def test_a_right_document_is_valid(right: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "validate", right) == 0
    assert capsys.readouterr() == (f"{right}: valid\n", "")


def test_every_problem_of_every_file_is_told(
    right: Path, wrong: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    none = wrong.with_name("none.yaml")
    assert run("config", "validate", wrong, none, right) == 2
    out, err = capsys.readouterr()
    assert out == f"{right}: valid\n"
    lines = err.splitlines()
    assert lines[0].startswith(f"{wrong}:2:1: warning: 'growpart' does nothing here")
    assert lines[1:] == [
        f"{wrong}:3:1: unknown key 'hostnam'; did you mean 'hostname'?",
        f"{wrong}:4:16: found text; expected a list: a time server's name or address",
        f"{none}: no such file",
    ]


def test_the_same_as_json(right: Path, wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "validate", "--json", wrong, right) == 2
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert err == ""
    assert found["schema"] == 1
    assert [each["valid"] for each in found["files"]] == [False, True]
    assert found["files"][0]["problems"][1] == {
        "file": str(wrong),
        "line": 3,
        "column": 1,
        "message": "unknown key 'hostnam'; did you mean 'hostname'?",
        "severity": "error",
    }
    severities = [problem["severity"] for problem in found["files"][0]["problems"]]
    assert severities == ["warning", "error", "error"]


def test_more_problems_than_a_message_holds_are_all_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "many.yaml"
    file.write_text("#cloud-config\n" + "".join(f"key{number}: 1\n" for number in range(70)))
    assert run("config", "validate", file) == 2
    assert len(capsys.readouterr().err.splitlines()) == 70


def test_warnings_alone_are_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("#cloud-config\ngrowpart: {}\n")
    assert run("config", "validate", file) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}: valid\n"
    assert err.startswith(f"{file}:2:1: warning: ")


def test_what_only_shows_in_the_making_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "#cloud-config\n"
        "hostname: a\n"
        "users: [{name: web, primary_group: www}, {name: db, primary-group: data}]\n"
        "write_files: [{path: /etc/hostname/a}]\n"
        "bedplate: {update: {server: 'https://[1]/'}}\n"
    )
    told = [
        f"{file}:3:36: users: web: there is no group www; add it to groups",
        f"{file}:3:68: users: db: there is no group data; add it to groups",
        f"{file}:4:22: write_files: /etc/hostname/a: other keys write a file above or below it",
        f"{file}:5:12: bedplate.update: server: expected an http:// or https:// URL with a host",
    ]
    assert run("config", "validate", file) == 2
    assert capsys.readouterr().err.splitlines() == told
    with pytest.raises(InputError) as caught:
        run("config", "plan", file)
    assert str(caught.value).splitlines() == told


def test_addresses_are_taken_for_examples_of_the_same_length(tmp_path: Path) -> None:
    assert all(len(value) == len(f"${name}") for name, value in _ADDRESSES.items())
    file = tmp_path / "a.yaml"
    file.write_text("#cloud-config\nhostname: n-$private_ipv4\n")
    assert run("config", "validate", file) == 0


def test_the_schema_and_the_page_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Bedplate cloud-config"
    assert run("config", "schema", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# cloud-config\n")


def test_plan_says_what_a_host_would_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(FILES + "power_state: {mode: reboot}\n")
    assert run("config", "plan", file) == 0
    out = capsys.readouterr().out
    assert "write /etc/a" in out
    assert "write /var/lib/d (0644 root:root) from https://example.org/d" in out
    assert "link /etc/systemd/system/e.service -> /dev/null" in out
    assert "reboot, on its first boot" in out
    assert run("config", "plan", "--json", file) == 0
    assert (
        "link /etc/systemd/system/e.service -> /dev/null"
        in json.loads(capsys.readouterr().out)["changes"]
    )


def test_plan_takes_a_network_config(
    right: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tmp_path / "network-config"
    network.write_text("version: 2\nethernets:\n  eth0: {addresses: [192.0.2.5/24]}\n")
    assert run("config", "plan", right, "--network-config", network) == 0
    assert "192.0.2.5/24" in capsys.readouterr().out
    network.write_text("version: 2\nethernets:\n  eth0: {link-local: [], accept-ra: true}\n")
    assert run("config", "plan", right, "--network-config", network) == 0
    warning = f"{network}:3:37: warning: this needs link-local addresses of IPv6"
    assert warning in capsys.readouterr().err


def test_render_writes_what_a_host_would_write(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.yaml", tmp_path / "out"
    file.write_text(FILES)
    assert run("config", "render", file, "--output", folder) == 0
    assert (folder / "etc/a").read_text() == "bc"
    assert (folder / "etc/systemd/system/e.service").readlink() == Path("/dev/null")
    assert not (folder / "var/lib/d").exists()
    with pytest.raises(InputError, match="not empty; expected a new folder"):
        run("config", "render", file, "--output", folder)


def test_what_cannot_be_rendered_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "a.yaml", tmp_path / "new/out"
    file.write_text(FILES)
    monkeypatch.setattr(Path, "symlink_to", _full)
    with pytest.raises(OSError, match="No space"):
        run("config", "render", file, "--output", folder)
    assert list(folder.parent.iterdir()) == []


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_nothing_is_rendered_outside_the_folder(tmp_path: Path) -> None:
    file, folder = tmp_path / "a.yaml", tmp_path / "out"
    unit = "[Install]\\nAlias=../../../../../escaped.service\\n"
    file.write_text(
        f'#cloud-config\ncoreos: {{units: [{{name: a.service, enable: true, content: "{unit}"}}]}}'
    )
    with pytest.raises(BedplateError):
        run("config", "render", file, "--output", folder)
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize("command", ["plan", "render"])
def test_a_wrong_document_is_neither_planned_nor_rendered(
    command: str, wrong: Path, tmp_path: Path
) -> None:
    more: list[str | Path] = ["--output", tmp_path / "out"] if command == "render" else []
    with pytest.raises(InputError, match="unknown key 'hostnam'"):
        run("config", command, wrong, *more)
    assert not (tmp_path / "out").exists()


DATABASE = """\
#cloud-config
hostname: db-1
write_files:
  - {path: /etc/password, content: %s}  # never say it
"""


def test_show_prints_a_document_without_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(DATABASE % "hunter2")
    assert run("config", "show", file) == 0
    assert capsys.readouterr().out == (
        "#cloud-config\nhostname: db-1\nwrite_files:\n- path: /etc/password\n"
        "  content: '<cut out: 7 bytes>'\n"
    )


def test_diff_tells_secrets_apart_and_shows_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = tmp_path / "a.yaml", tmp_path / "b.yaml"
    before.write_text(DATABASE % "hunter2")
    after.write_text(DATABASE.replace("db-1", "db-2") % "hunter3")
    assert run("config", "diff", before, before) == 0
    assert capsys.readouterr().out == ""
    assert run("config", "diff", before, after) == 1
    out = capsys.readouterr().out
    assert "hunter" not in out
    assert "-hostname: db-1\n+hostname: db-2\n" in out
    assert "-  content: '<cut out: 7 bytes, no. 1>'\n" in out
    assert "+  content: '<cut out: 7 bytes, no. 2>'\n" in out


def test_diff_takes_what_a_host_has_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "a.yaml", tmp_path / "b.yaml"
    here.write_text(DATABASE % "hunter2")
    run("config", "show", here)
    there.write_text(capsys.readouterr().out)
    assert run("config", "diff", there, here) == 0
    here.write_text(DATABASE % "hunter22")
    assert run("config", "diff", there, here) == 1
