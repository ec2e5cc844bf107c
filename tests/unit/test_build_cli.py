import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from build_kit import plant
from builder import build_cli, cli, pipeline
from builder.inventory.lock import Lock
from builder.report import Reporter
from builder.run import CommandError
from builder.trust.certificates import EXTENSIONS, SECURE_BOOT, generate_pair
from builder.trust.keys import KeyRing
from builder.trust.publish import Signing
from builder.trust.repository import Repository
from trust_kit import CHEAP, NOW, PASSPHRASE, make_store, open_store
from updater.version import Version

DEFINITION = "name: bedplate\nversion: 1\nsuite: trixie\n"


@pytest.fixture(scope="module")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with keys/ and repository/ as `keygen` and `release init` make them."""
    site = tmp_path_factory.mktemp("site")
    ring = make_store(site / "keys")
    generate_pair(site / "keys", EXTENSIONS, PASSPHRASE, CHEAP)
    generate_pair(site / "keys", SECURE_BOOT, PASSPHRASE, CHEAP)
    Repository(site / "repository").init(Signing(KeyRing((open_store(ring),)), NOW))
    return site


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return plant(tmp_path, {"images/base.yaml": DEFINITION})


@pytest.fixture
def site(trust: Path, folder: Path) -> Path:
    for name in ("keys", "repository"):
        (folder / name).symlink_to(trust / name)
    return folder


@pytest.fixture(autouse=True)
def _no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here may start a real build."""

    def refuse(*_args: object, **_options: object) -> None:
        pytest.fail("a build was started")

    monkeypatch.setattr(pipeline, "build", refuse)


def refused(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 2) -> str:
    """What the one line of a refusal says."""
    assert cli.main(["build", *argv]) == code
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert len(lines) == 1, told.err
    assert lines[0].startswith("bedplate: ")
    return lines[0].removeprefix("bedplate: ")


def test_no_definition(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    assert "images/gone.yaml" in refused(capsys, f"{site}/images/gone.yaml")


def test_a_folder_is_no_definition(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    assert f"{site}/images" in refused(capsys, f"{site}/images")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "name: bedplate\nversion: 1\npackags: [x]\n",
            "images/base.yaml:3:1: unknown key 'packags'",
        ),
        ("name: [\n", "images/base.yaml:2:1: "),
        ("name: bedplate\nversion: one\n", "images/base.yaml:2:10: "),
        ("version: 1\n", "images/base.yaml:1:1: "),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_wrong_definition_is_named_by_line_and_column(
    capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    Path("images/base.yaml").write_text(text)
    assert refused(capsys).startswith(reason)


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["--set", "packags=[x]"], "unknown key 'packags'"),
        (["--set", "packages"], "--set packages: expected KEY=VALUE"),
        (["--set", "disk.root=lots"], "override disk.root"),
        (["--version", "one"], "override version"),
        (["--mirror", "ftp://x"], "override mirror"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_wrong_override_is_named(
    capsys: pytest.CaptureFixture[str], argv: list[str], reason: str
) -> None:
    assert reason in refused(capsys, *argv)


def test_no_repository(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    (site / "repository").unlink()
    assert refused(capsys) == ("repository: holds no TUF root; run `bedplate release init` first")


def test_no_keys(capsys: pytest.CaptureFixture[str], site: Path) -> None:
    (site / "keys").unlink()
    assert refused(capsys) == "keys/extensions.crt: not found; run `bedplate keygen` first"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"signed": {"_type": "root"}}', "\0"])
def test_a_root_that_no_host_would_take(
    capsys: pytest.CaptureFixture[str], folder: Path, content: str
) -> None:
    plant(folder, {"repository/metadata/1.root.json": content})
    assert "repository/metadata/1.root.json: is no TUF root" in refused(capsys)


@pytest.mark.parametrize("role", ["1.targets.json", "timestamp.json"])
def test_another_role_is_no_root(
    capsys: pytest.CaptureFixture[str], folder: Path, trust: Path, role: str
) -> None:
    other = (trust / "repository/metadata" / role).read_bytes()
    plant(folder, {"repository/metadata/1.root.json": other})
    assert "1.root.json: is no TUF root" in refused(capsys)


def test_a_root_that_was_changed_after_signing(
    capsys: pytest.CaptureFixture[str], folder: Path, trust: Path
) -> None:
    root = json.loads((trust / "repository/metadata/1.root.json").read_text())
    root["signed"]["expires"] = "2099-01-01T00:00:00Z"
    plant(folder, {"repository/metadata/1.root.json": json.dumps(root)})
    assert "1.root.json: is no TUF root that a host would take" in refused(capsys)


def test_a_garbled_certificate(
    capsys: pytest.CaptureFixture[str], folder: Path, trust: Path
) -> None:
    (folder / "repository").symlink_to(trust / "repository")
    plant(folder, {"keys/extensions.crt": "garbage"})
    assert "keys/extensions.crt: expected a certificate in PEM" in refused(capsys)


def test_the_newest_root_is_taken_by_number(folder: Path, trust: Path) -> None:
    data = (trust / "repository/metadata/1.root.json").read_bytes()
    odd: dict[str, str | bytes] = {"x.root.json": "", "9.root.json": ""}
    metadata = {f"repository/metadata/{name}": content for name, content in odd.items()}
    plant(folder, {**metadata, "repository/metadata/10.root.json": data})
    assert build_cli.read_trust(folder / "repository", trust / "keys").root == data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "lock.json: No such file or directory"),
        ("", "lock.json"),
        ("[]", "lock.json"),
        ('{"schema": 2}', "lock.json"),
        ('{"schema": 1, "suite": "trixie", "epoch": 1, "packages": []}', "packages"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_broken_lock(
    capsys: pytest.CaptureFixture[str], content: str | None, reason: str
) -> None:
    if content is not None:
        Path("lock.json").write_text(content)
    assert reason in refused(capsys, "--lock", "lock.json")


def test_an_unknown_option_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["build", "--verfy"])
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def failing(error: BaseException) -> Callable[..., None]:
    def build(*_args: object) -> None:
        raise error

    return build


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CommandError("xz ended with 1"), 1, "xz ended with 1"),
        (KeyboardInterrupt(), 130, "interrupted; what was half-done is gone"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/cache/work/x"),
            1,
            "/cache/work/x: No space left on device",
        ),
        (OSError("nameless"), 1, "nameless"),
    ],
)
@pytest.mark.usefixtures("site")
def test_a_failure_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    line: str,
) -> None:
    monkeypatch.setattr(pipeline, "build", failing(error))
    assert refused(capsys, code=code) == line


def test_the_result_is_json_on_stdout(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, site: Path
) -> None:
    given: list[pipeline.Options] = []

    def build(definition: object, options: pipeline.Options, _reporter: Reporter) -> pipeline.Build:
        given.append(options)
        version = getattr(definition, "version", None)
        assert isinstance(version, Version)
        return pipeline.Build(
            folder=options.output / "host_2",
            version=version,
            root_hash="ab",
            root_size=1,
            initrd_size=2,
            uki_size=3,
            wire_size=4,
            lock=Lock("trixie", 7, ()),
        )

    monkeypatch.setattr(pipeline, "build", build)
    assert cli.main(["build", "--version", "2", "--output", "out", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["version"] == "2"
    assert result["folder"] == str(site / "out/host_2")
    assert result["verified"] is False
    assert given[0].output.is_absolute()
    assert given[0].lock is None
