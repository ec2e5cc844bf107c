"""A support bundle: unpacked and held against its manifest; nothing secret is in it."""

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from builder.host import bundle
from builder.host.cutting import CUT, EntryCutter, cut, cut_all
from builder.host.errors import UnreachableError
from builder.report import Reporter
from host_kit import FakeHost, Site, client, entry, lined, make_site, running, sending
from test_host_cli import ANSWERS

KEY = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg"
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}\nshort==\n-----END PRIVATE KEY-----"
READ = ("status", "boots", "timings", "pods", "overlay", "update", "trust", "config", "extensions")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def host(site: Site) -> Iterator[FakeHost]:
    with running(site) as found:
        for name in (*READ, "crashes"):
            found.says(name, ANSWERS[name])
        found.says("metrics", b"bedplate_info 1\n")
        found.streams(
            "logs",
            entry(1, "fetching https://me:hunter2@example.org/x"),
            entry(2, "-----BEGIN PRIVATE KEY-----"),
            entry(2, "of another program", pid=8),
            entry(3, KEY),
            entry(4, "-----END PRIVATE KEY-----"),
            entry(5, "up"),
        )
        yield found


def collect(site: Site, host: FakeHost, final: Path) -> bundle.Bundle:
    with client(site, host) as one, Reporter().step("bundle") as step:
        return bundle.collect(one, final, step)


def unpack(path: Path) -> dict[str, bytes]:
    data = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def manifest(found: dict[str, bytes]) -> Any:  # noqa: ANN401 - JSON is of any type
    first = next(iter(found))
    assert first == "web/manifest.json"
    return json.loads(found[first])


def test_a_bundle_has_all_that_may_be_read_and_says_what(
    site: Site, host: FakeHost, tmp_path: Path
) -> None:
    final = tmp_path / "new/web.tar.zst"
    collect(site, host, final)
    found = unpack(final)
    told = manifest(found)
    assert (told["schema"], told["host"], told["failed"]) == (1, "127.0.0.1", [])
    names = {f"web/{each['name']}" for each in told["members"]}
    assert names == {
        *(f"web/{name}.json" for name in (*READ, "crashes")),
        *("web/metrics.txt", "web/logs-this-boot.jsonl", "web/logs-boot-before.jsonl"),
    }
    assert set(found) == names | {"web/manifest.json"}
    for each in told["members"]:
        data = found[f"web/{each['name']}"]
        assert (len(data), hashlib.sha256(data).hexdigest()) == (each["bytes"], each["sha256"])
    assert json.loads(found["web/update.json"]) == ANSWERS["update"]
    assert final.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in final.parent.iterdir()] == ["web.tar.zst"]
    asked = [each.target for each in host.does("logs")]
    assert asked == [f"/v1/logs?boot={boot}&lines=100000" for boot in (0, -1)]


def test_secrets_in_logs_are_cut_out(site: Site, host: FakeHost, tmp_path: Path) -> None:
    collect(site, host, tmp_path / "web.tar.zst")
    found = unpack(tmp_path / "web.tar.zst")
    whole = b"".join(found.values())
    for secret in (b"hunter2", KEY.encode(), b"BEGIN PRIVATE"):
        assert secret not in whole
    messages = [
        json.loads(line)["message"] for line in found["web/logs-this-boot.jsonl"].split(b"\n")[:-1]
    ]
    assert messages[0] == f"fetching https://{CUT}@example.org/x"
    assert messages[2] == "of another program"
    assert messages[-1] == "up"


def test_what_is_not_to_be_had_is_in_the_manifest(
    site: Site, host: FakeHost, tmp_path: Path
) -> None:
    host.refuses("overlay", 404, "missing", "this host is in no overlay; token=abc")
    host.says("trust", b"garbage")
    host.scripts["logs"] = sending(lined(entry(1, "a"), whole=False))
    made = collect(site, host, tmp_path / "web.tar.zst")
    told = manifest(unpack(tmp_path / "web.tar.zst"))
    failed = {each["name"]: each["reason"] for each in told["failed"]}
    assert set(failed) == {
        *("overlay.json", "trust.json", "logs-this-boot.jsonl", "logs-boot-before.jsonl"),
    }
    assert failed["overlay.json"] == f"this host is in no overlay; token={CUT}"
    # What came before it broke off is there.
    assert "logs-this-boot.jsonl" in {each["name"] for each in told["members"]}
    assert made.plain() == {name: told[name] for name in ("members", "failed")}


def test_logs_are_bounded(
    site: Site, host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "LOG_BYTES", 300)
    made = collect(site, host, tmp_path / "web.tar.zst")
    assert {each.reason for each in made.failed} == {"more than 300 bytes; the rest is left out"}
    sizes = [each.bytes for each in made.members if each.name.startswith("logs")]
    assert all(0 < size <= 300 for size in sizes)


def test_nothing_is_written_where_nobody_answers(site: Site, tmp_path: Path) -> None:
    with running(site) as gone:
        pass
    with pytest.raises(UnreachableError, match="Connection refused"):
        collect(site, gone, tmp_path / "web.tar.zst")
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_where_the_disk_is_full(
    site: Site, host: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle, "_entry", full)
    with pytest.raises(OSError, match="No space"):
        collect(site, host, tmp_path / "web.tar.zst")
    assert not list(tmp_path.iterdir())


# --- What is cut out ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://a:b@c/d?e", f"GET https://{CUT}@c/d?e"),
        ("postgres://user:p4:ss@db:5432/x", f"postgres://{CUT}@db:5432/x"),
        ("Authorization: Bearer abcdefgh.ijk", f"Authorization: Bearer {CUT}"),
        ("Basic dXNlcjpwYXNz and on", f"Basic {CUT} and on"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.e30.abc-_d.", f"jwt {CUT}."),
        ("PASSWORD=abc next", f"PASSWORD={CUT} next"),
        ("db_password: 'a b' x", f"db_password: {CUT} x"),
        ('{"client_secret":"x y","a":1}', f'{{"client_secret":{CUT},"a":1}}'),
        ("run --api-key abc --port 1", f"run --api-key {CUT} --port 1"),
        ("run --token --port 1", "run --token --port 1"),
        ("MYAPI_TOKEN=abc", f"MYAPI_TOKEN={CUT}"),
        ("passwd: <cut out: 12 bytes>", "passwd: <cut out: 12 bytes>"),
        ("a mail to me@example.org: the token ring", "a mail to me@example.org: the token ring"),
        (f"key {PEM} after", f"key {CUT}\n{CUT}\n{CUT}\n{CUT} after"),
        (f"{PEM.splitlines()[0]}\n{KEY}\nnot of a key", f"{CUT}\n{CUT}\nnot of a key"),
        (PEM.replace("PRIVATE", "EC PRIVATE"), "\n".join([CUT] * 4)),
        ("-----BEGIN CERTIFICATE-----\nabc", "-----BEGIN CERTIFICATE-----\nabc"),
    ],
)
def test_what_looks_like_a_secret_is_cut_out(text: str, left: str) -> None:
    assert cut(text) == left


def test_values_are_cut_by_their_keys() -> None:
    found = {"a": [{"registry_password": "x", "token": 5, "keys": ["k"]}], "b": "token=x"}
    assert cut_all(found) == {
        "a": [{"registry_password": CUT, "token": 5, "keys": ["k"]}],
        "b": f"token={CUT}",
    }


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "Z", "C"])))
def test_a_key_is_cut_out_of_any_text(around: str) -> None:
    assert KEY not in cut(f"{around}\n{PEM}\n{around}")
    cutter = EntryCutter()
    told = [cutter.cut(entry(1, line))["message"] for line in f"{around}\n{PEM}".splitlines()]
    assert not any(KEY in str(each) for each in told)


@pytest.mark.parametrize(
    "text",
    ["a." * 200_000, "eyJ" * 100_000, "--a" * 100_000, "token" * 100_000, "x://" * 100_000,
     "token=" * 100_000, "--" + "a-" * 200_000, "Basic " * 100_000, "-----BEGIN " * 50_000],
    ids=range(9),
)  # fmt: skip
def test_nobody_can_make_the_cutting_long(text: str) -> None:
    began = time.process_time()
    cut(text)
    assert time.process_time() - began < 10
