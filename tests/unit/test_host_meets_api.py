"""`bedplate host` against the very server that runs on hosts, with a root's side that plays."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from api_kit import Certificates, PlayedRoot, Running, sources
from builder import cli
from host_kit import STATUS
from hostapi.acting import Data, Progress, Result, Word
from hostapi.contract import ENDPOINTS
from hostapi.routing import Asked
from updater.errors import BedplateError, run_main

Ask = Callable[..., int]
Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


async def staging(_: Asked) -> AsyncIterator[Word]:
    yield Progress({"text": "fetching", "step": "fetch", "done": 1, "total": 2, "fetched": 1})
    yield Result({"verdict": "update", "version": "8", "reason": "8 is newer", "staged": True})


async def dumping(_: Asked) -> AsyncIterator[Word]:
    for _number in range(8):
        yield Data(b"core" * 10_000)
    yield Result({"name": "core", "bytes": 320_000})


async def breaking(_: Asked) -> AsyncIterator[Word]:
    yield Data(b"core" * 10_000)
    raise BedplateError("the disk is gone")


@pytest.fixture
def root() -> PlayedRoot:
    return PlayedRoot({"stage": staging, "crash": dumping})


@pytest.fixture
def ask(certificates: Certificates, root: PlayedRoot) -> Iterator[Ask]:
    with Running(certificates, sources(status=lambda: STATUS), root) as found:

        def run(*words: str, who: str = "olga") -> int:
            identity = ("--identity", str(certificates.folder / f"{who}.pem"))
            line = ["host", f"127.0.0.1:{found.port}", *words, *identity, "--name", "localhost"]
            args = cli.parser().parse_args(line)
            return run_main(lambda: int(args.func(args)))

        yield run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_endpoint_is_asked_as_the_server_understands(ask: Ask, root: PlayedRoot) -> None:
    Path("web.yaml").write_text("#cloud-config\n")
    for words in (
        *("status", "metrics", "logs", "boots", "timings", "pods", "overlay", "update", "trust"),
        *("config", "config plan web.yaml", "extension list", "crash list", "crash get core.x"),
        *("check", "stage", "rollback", "override --channel beta", "override --end", "reboot"),
        f"extension add dev https://example.org/dev.raw {'0' * 64}",
        *("extension remove dev", "certificate renew", "wipe web-1 --yes-wipe web-1"),
    ):
        assert ask(*words.split()) == 0, words
    acts = [asked.endpoint.name for _, asked in root.asked]
    assert sorted(acts) == sorted(each.name for each in ENDPOINTS if each.act)
    assert {who for who, _ in root.asked} == {"olga"}


def test_what_comes_is_shown(ask: Ask, capsys: Output) -> None:
    assert ask("status") == 0
    assert "image         bedplate 7 (slot a)" in capsys.readouterr().out
    assert ask("logs", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["message"] for each in lines] == ["line 0", "line 1", "line 2"]
    assert ask("stage") == 0
    assert capsys.readouterr().out == "version 8 is staged; 8 is newer\n"
    assert ask("crash", "get", "core.x") == 0
    assert Path("core.x").read_bytes() == b"core" * 80_000


def test_a_reader_hears_what_it_takes(ask: Ask, root: PlayedRoot, capsys: Output) -> None:
    assert ask("reboot", who="rita") == 1
    assert "bedplate pki issue operator" in capsys.readouterr().err
    assert not root.asked
    assert ask("status", who="rita") == 0


@pytest.mark.parametrize("who", ["old", "foreign", "server"])
def test_a_certificate_that_is_refused_is_told(who: str, ask: Ask, capsys: Output) -> None:
    # Their folder has the CA of the host, and the host does not take them.
    assert ask("status", who=who) == 1
    assert "refuses our certificate" in capsys.readouterr().err


def test_a_file_that_breaks_off_is_none(
    ask: Ask, root: PlayedRoot, capsys: Output, tmp_path: Path
) -> None:
    root.words = {"crash": breaking}
    assert ask("crash", "get", "core.x") == 1
    assert "localhost: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_bundle_of_a_reader_has_no_failures(ask: Ask, capsys: Output) -> None:
    assert ask("bundle", "--json", who="rita") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == []
    assert Path(found["file"]).stat().st_size == found["size"]
