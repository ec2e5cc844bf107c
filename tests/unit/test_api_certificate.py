"""The API's certificate on a host: brought along, enrolled, renewed, taken away, and cut off."""

import json
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from builder.pki import issuing, rotating
from builder.pki.certificate import Kind
from builder.pki.folder import Folder
from builder.pki.issuing import Person
from hostapi import certificate as program
from hostapi import enrol, examine, standing
from hostapi.acts import certificate as acts
from hostapi.acts.types import Request
from hostapi.contract import BY_NAME
from hostapi.enrol import EnrolError
from hostapi.standing import Ask, Found, Plan, Source, View
from pki_kit import Clock, Host, new_folder, serving, token_for
from updater import files, programs
from updater.errors import InputError

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DIST = Path(__file__).parents[2] / "cloud-config/dist"


def found(name: str = "web-1", *, age: int = 0, **changes: bool) -> Found:
    start = NOW - timedelta(days=age)
    return Found(
        "SHA256:AB", name, "bedplate:host", start, start + timedelta(days=90),
        ("10.0.0.5", "web-1"), **changes,
    )  # fmt: skip


# --- The plan -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "source", "ask"),
    [
        (None, None, Ask.ENROL),
        (found(), Source.ENROLLED, Ask.NOTHING),
        (found(age=-30), Source.ENROLLED, Ask.NOTHING),  # of the future: the clock is behind
        (found(age=59), Source.ENROLLED, Ask.NOTHING),
        (found(age=60), Source.ENROLLED, Ask.RENEW),
        (found(age=90), Source.ENROLLED, Ask.ENROL),  # what ended is shown: the clock may be ahead
        (found(age=60, fits=False), None, Ask.ENROL),
        (found(trusted=False), None, Ask.ENROL),
        (found(revoked=True), None, Ask.ENROL),
        (found("web-2"), None, Ask.ENROL),
    ],
)
def test_an_enrolled_host_asks_when_it_has_to(
    kept: Found | None, source: Source | None, ask: Ask
) -> None:
    plan = standing.plan(View(NOW, "web-1", enrols=True, kept=kept))
    assert (plan.source, plan.ask) == (source, ask)


def test_somebody_may_want_a_renewal() -> None:
    view = View(NOW, "web-1", enrols=True, kept=found(), renewal_wanted=True)
    assert standing.plan(view).ask is Ask.RENEW


@pytest.mark.parametrize("age", [-400, 0, 80, 400])
def test_what_was_brought_along_is_shown_whatever_the_time(age: int) -> None:
    view = View(NOW, "web-1", enrols=False, brought=found(age=age), kept=found())
    assert standing.plan(view).source is Source.DOCUMENT
    assert standing.plan(view).ask is Ask.NOTHING


def test_a_key_of_another_certificate_shows_nothing() -> None:
    plan = standing.plan(View(NOW, "web-1", enrols=False, brought=found(fits=False)))
    assert plan == Plan(None, Ask.NOTHING, "the key in the document is not the certificate's")


@given(
    age=st.integers(-2000, 2000),
    kept=st.booleans(),
    flags=st.fixed_dictionaries(
        {"fits": st.booleans(), "trusted": st.booleans(), "revoked": st.booleans()}
    ),
)
def test_nothing_is_shown_that_is_not_this_hosts(
    age: int, flags: dict[str, bool], *, kept: bool
) -> None:
    kept_then = found("web-1", age=age, **flags)
    view = View(NOW, "web-1", enrols=True, kept=kept_then if kept else None)
    plan = standing.plan(view)
    good = kept and flags["fits"] and flags["trusted"] and not flags["revoked"]
    assert (plan.source is Source.ENROLLED) == good
    assert good or plan.ask is Ask.ENROL


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (("192.0.2.1", "10.0.0.5"), "10.0.0.5"),
        ((), "10.0.0.5"),
        (("192.0.2.1",), "10.0.0.5"),
    ],
)
def test_the_note_has_an_address_that_clients_believe(
    addresses: tuple[str, ...], expected: str
) -> None:
    assert standing.reached_by(found(), addresses, "web-1") == expected


def test_the_note_brackets_ipv6_and_says_what_is_wrong() -> None:
    text = standing.note(found(age=90), "fd00::5", 7443, NOW, "the service is away")
    assert text == (
        "https://[fd00::5]:7443 SHA256:AB; the certificate ended on 2026-11-23; the service is away"
    )


# --- The host -------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> Folder:
    return new_folder(tmp_path / "pki", clock)


@pytest.fixture
def host(tmp_path: Path, clock: Clock, folder: Folder) -> Host:
    made = Host(tmp_path / "host", clock)
    made.trusts(folder)
    return made


def test_what_was_brought_along_is_put_into_force(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1", addresses=["10.0.0.5"])
    host.brings(folder, "web-1")
    host.keeper.keep()
    runtime = host.places.runtime
    for name in ("host.pem", "host.key", "clients.pem", "revoked.pem"):
        assert (runtime / name).stat().st_mode & 0o777 == 0o600
    told = json.loads((runtime / "certificate.json").read_bytes())
    assert told["schema"] == 1
    assert told["source"] == "document"
    assert re.fullmatch("SHA256(:[0-9A-F]{2}){32}", told["fingerprint"])
    assert (runtime / "certificate.json").stat().st_mode & 0o777 == 0o644
    assert host.note() == f"https://10.0.0.5:7443 {told['fingerprint']}"
    assert host.calls == [
        ("--no-block", "try-restart", "bedplate-api.service"),
        ("--no-block", "start", "bedplate-api.socket"),
    ]


def test_what_is_in_force_restarts_nothing(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    host.keeper.keep()
    host.keeper.keep()
    assert host.restarts() == 1
    issuing.new_lists(folder)
    host.trusts(folder)
    host.keeper.keep()
    assert host.restarts() == 2


def test_another_port_is_listened_on_anew(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    host.keeper.keep()
    (host.places.document / "port").write_text("8443\n")
    host.calls.clear()
    host.keeper.keep()
    assert ("stop", "bedplate-api.socket", "bedplate-api.service") in host.calls
    assert ":8443 SHA256:" in host.note()


def test_a_document_without_an_api_turns_it_off(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    host.keeper.keep()
    for path in host.places.document.iterdir():
        path.unlink()
    host.calls.clear()
    host.keeper.keep()
    assert host.calls == [("stop", "bedplate-api.socket", "bedplate-api.service")]
    assert [*host.places.runtime.iterdir()] == []
    assert not host.places.note.exists()


@pytest.mark.parametrize("name", ["host.pem", "host.key", "clients.pem", "revoked.pem"])
def test_garbage_from_the_document_turns_it_off_and_says_why(
    folder: Folder, host: Host, name: str
) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    host.keeper.keep()
    label = "X509 CRL" if name == "revoked.pem" else "CERTIFICATE"
    text = f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"
    (host.places.document / name).write_text(text)
    with pytest.raises(InputError):
        host.keeper.keep()
    assert host.note().startswith("off: ")
    assert host.shown() == ""


def test_a_key_that_does_not_fit_turns_it_off(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    issuing.issue(folder, Kind.HOST, "web-2")
    host.brings(folder, "web-2")
    key = (host.places.document / "host.key").read_bytes()
    host.brings(folder, "web-1")
    (host.places.document / "host.key").write_bytes(key)
    with pytest.raises(InputError, match="the key in the document is not the certificate's"):
        host.keeper.keep()
    assert host.note() == "off: the key in the document is not the certificate's"


def shown_serial(host: Host) -> int:
    return x509.load_pem_x509_certificate(host.shown().encode()).serial_number


def test_a_host_enrols_and_renews(folder: Folder, host: Host, clock: Clock) -> None:
    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1", ["10.0.0.5"]), "web-1")
        host.keeper.keep()
        assert "https://10.0.0.5:7443" in host.note() or "https://127.0.0.1:7443" in host.note()
        first = shown_serial(host)
        state = host.places.state
        assert state.stat().st_mode & 0o777 == 0o700
        assert [path.name for path in state.iterdir()] == ["host.pem"]
        assert (state / "host.pem").stat().st_mode & 0o777 == 0o600
        key = (host.places.runtime / "host.key").read_bytes()
        host.keeper.keep()
        assert shown_serial(host) == first
        clock.pass_by(days=60)
        # The service's own certificate holds for 30 days; its clock is this one too.
        host.clock = Clock(clock.now)
    clock.now = Clock().now
    with serving(folder) as url:
        host.enrols(url, "A" * 43, "web-1")
        host.keeper.keep()
        assert shown_serial(host) != first
        assert (host.places.runtime / "host.key").read_bytes() != key
    assert json.loads((host.places.runtime / "certificate.json").read_bytes())["source"] == (
        "enrolled"
    )


def test_a_service_that_is_away_leaves_what_is_in_force(
    folder: Folder, host: Host, clock: Clock
) -> None:
    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        host.keeper.keep()
    before = host.shown()
    clock.pass_by(days=61)
    with pytest.raises(EnrolError, match="the certificate ends on"):
        host.keeper.keep()
    assert host.shown() == before
    assert host.restarts() == 1
    assert "SHA256:" in host.note()
    assert "refused" in host.note()


def test_a_host_without_a_certificate_says_why(folder: Folder, host: Host) -> None:
    with serving(folder) as url:
        host.enrols(url, "A" * 43, "web-1")
        with pytest.raises(EnrolError):
            host.keeper.keep()
    assert host.note().startswith("off: there is no certificate yet; https://127.0.0.1:")
    assert host.note().endswith("refused with 403: there is no such token")
    assert host.calls == []


def test_a_revoked_host_needs_another_token(folder: Folder, host: Host) -> None:
    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        host.keeper.keep()
        issuing.revoke(folder, "web-1")
        host.trusts(folder)
        with pytest.raises(EnrolError, match="is revoked"):
            host.keeper.keep()
        assert host.shown() == ""
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        host.keeper.keep()
    assert host.shown()


@pytest.mark.parametrize(
    ("kind", "name", "own_key", "message"),
    [
        (Kind.OPERATOR, "web-1", True, "a certificate for bedplate:operator web-1"),
        (Kind.HOST, "web-2", True, "a certificate for bedplate:host web-2"),
        (Kind.HOST, "web-1", False, "is for another key"),
    ],
)
def test_a_certificate_that_was_not_asked_for_is_not_kept(
    folder: Folder,
    host: Host,
    monkeypatch: pytest.MonkeyPatch,
    *,
    kind: Kind,
    name: str,
    message: str,
    own_key: bool,
) -> None:
    def given(_service: object, _token: str, _name: str, request: str) -> str:
        person = Person(request=request.encode() if own_key else None)
        issuing.issue(folder, kind, name, person=person)
        return folder.certificate_file(name).read_text()

    monkeypatch.setattr(enrol, "enrol", given)
    host.enrols("https://127.0.0.1:1", "A" * 43, "web-1")
    with pytest.raises(EnrolError, match=message):
        host.keeper.keep()
    assert [path.name for path in host.places.state.iterdir()] == ["next.key"]


def test_a_stranger_of_an_authority_is_not_kept(
    folder: Folder, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = new_folder(tmp_path / "other")

    def given(_service: object, _token: str, name: str, request: str) -> str:
        issuing.issue(other, Kind.HOST, name, person=Person(request=request.encode()))
        return other.certificate_file(name).read_text()

    monkeypatch.setattr(enrol, "enrol", given)
    host.enrols("https://127.0.0.1:1", "A" * 43, "web-1")
    with pytest.raises(EnrolError, match="no authority of the document"):
        host.keeper.keep()
    assert folder.read().issued == ()


def test_a_rotation_leaves_no_gap(folder: Folder, host: Host) -> None:
    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        host.keeper.keep()
    rotating.begin(folder)
    host.trusts(folder)
    with serving(folder) as url:
        host.enrols(url, "A" * 43, "web-1")
        host.keeper.keep()
    before = shown_serial(host)
    rotating.use(folder)
    with serving(folder) as url:
        host.enrols(url, "A" * 43, "web-1")
        host.keeper.keep()
        assert shown_serial(host) == before
        host.keeper.renew()
        host.keeper.keep()
    assert shown_serial(host) != before
    rotating.finish(folder)
    host.trusts(folder)
    host.keeper.keep()
    assert host.shown()


class Cut(BaseException):
    """The power is gone: not even a `finally` is to be relied upon."""


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("after", [False, True])
def test_a_cut_at_any_write_is_made_good_by_the_next_run(
    folder: Folder, host: Host, number: int, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    left = number

    def cut(real: Callable[..., None]) -> Callable[..., None]:
        def write(path: Path, data: bytes, mode: int = 0o644) -> None:
            nonlocal left
            if left == 0 and not after:
                raise Cut
            real(path, data, mode)
            if left == 0:
                raise Cut
            left -= 1

        return write

    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        with monkeypatch.context() as patched:
            patched.setattr(program, "write_atomic", cut(files.write_atomic))
            with suppress(Cut):
                host.keeper.keep()
        host.keeper.keep()
    # However often it was asked, by one key: a token is good for no more.
    (token,) = folder.read().tokens
    assert token.used_by
    certificate = x509.load_pem_x509_certificate(host.shown().encode())
    key = (host.places.runtime / "host.key").read_text()
    assert examine.private_key(key).public_key() == certificate.public_key()
    assert [path.name for path in host.places.state.iterdir()] == ["host.pem"]
    assert host.restarts() >= 1
    assert "SHA256:" in host.note()


def test_the_act_fetches_and_lets_the_timer_put_it_into_force(
    folder: Folder, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(acts, "Places", lambda: host.places)
    monkeypatch.setattr(acts, "systemctl", calls.append)
    assert list(acts.ACTS) == ["renew"]
    assert BY_NAME["renew"].act
    request = Request(who="anna", arguments={})
    with serving(folder) as url:
        host.enrols(url, token_for(folder, "web-1"), "web-1")
        host.keeper.keep()
        before = host.shown()
        told = acts.ACTS["renew"](request, None)  # type: ignore[arg-type]
    assert "SHA256:" in str(told["done"])
    assert calls == [("--no-block", "restart", "bedplate-api-certificate.timer")]
    assert host.shown() == before
    host.keeper.keep()
    assert host.shown() != before


def test_the_act_cannot_renew_what_was_brought_along(folder: Folder, host: Host) -> None:
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    with pytest.raises(InputError, match="comes with its cloud-config"):
        host.keeper.renew()


# --- Program and units ----------------------------------------------------------------------------


def test_the_program_ends_by_what_became_of_it(
    folder: Folder, host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "systemctl", host.calls.append)
    assert program.main(host.places) == 2
    assert "neither a certificate nor enrol" in capsys.readouterr().err
    host.enrols("https://127.0.0.1:1", "A" * 43, "web-1")
    assert program.main(host.places) == 1
    assert "Connection refused" in capsys.readouterr().err
    (host.places.document / "enrol.json").unlink()
    issuing.issue(folder, Kind.HOST, "web-1")
    host.brings(folder, "web-1")
    assert program.main(host.places) == 0


@pytest.mark.parametrize(("ahead", "behind"), [(-400, False), (400, True)])
def test_a_clock_before_the_image_was_made_is_behind(
    tmp_path: Path, ahead: int, *, behind: bool
) -> None:
    built = datetime.now(UTC) + timedelta(days=ahead)
    seconds = int(built.timestamp())
    for name, text in {
        "usr/lib/os-release": f"IMAGE_ID=b\nIMAGE_VERSION=1\nBEDPLATE_BUILT={seconds}\n",
        "proc/cmdline": f"roothash={'0' * 64}",
        "proc/sys/kernel/random/boot_id": "1",
        "etc/machine-id": "1",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = program.moment(tmp_path)
    assert found.behind == behind
    assert found.now >= built - timedelta(days=1)
    assert not program.moment(tmp_path / "elsewhere").behind


def test_no_boot_waits_for_it() -> None:
    service = (DIST / "bedplate-api-certificate.service").read_text()
    timer = (DIST / "bedplate-api-certificate.timer").read_text()
    assert "[Install]" not in service
    assert "WantedBy=timers.target" in timer
    assert "RandomizedDelaySec" not in timer  # it would delay the first run, too
    assert re.findall(r"^Exec\w+=(\S+)", service, re.MULTILINE) == [
        "/usr/bin/bedplate-api-certificate"
    ]


def test_the_names_that_the_workstation_takes_from_here_are_quick_to_import() -> None:
    code = (
        "import sys, hostapi.enrol, hostapi.certificate, hostapi.acts.certificate; "
        "print([m for m in ('cryptography', 'requests', 'yaml', 'tuf') if m in sys.modules])"
    )
    assert programs.run((sys.executable, "-c", code)).strip() == "[]"
