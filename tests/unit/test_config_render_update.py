"""Updates: both sections' words become what the updater reads."""

import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import update
from cloudconfig.render.errors import RenderError
from hostkit.document.source import DocumentError
from updater import config as updater_config


def config(body: str) -> CloudConfig:
    return read_document(f"#cloud-config\n{body}\n".encode(), Path("c.yaml")).config


def only(desired: Desired) -> File:
    (file,) = desired.items
    assert isinstance(file, File)
    assert file.path == PurePosixPath("/etc/bedplate/update.json")
    assert file.affects == (Affects("bedplate-updated.service"),)
    return file


def settings(body: str) -> object:
    return json.loads(only(update.render(config(body), Facts())).content)


def test_our_own_words_are_the_updaters() -> None:
    found = settings(
        "bedplate:\n"
        "  update:\n"
        "    server: https://u.example/r/\n"
        "    channel: beta\n"
        "    strategy: window\n"
        "    window: {start: 03:30, length: 1h30m, days: [sun, mon]}\n"
        "    proxy: http://p:3128\n"
        "    bandwidth: 1048576\n"
        "    interval: 10m\n"
        "    jitter: 0\n"
        "    reboot-delay: 1h\n"
    )
    assert found == {
        "server": "https://u.example/r/",
        "channel": "beta",
        "strategy": "window",
        "window": {"start": "03:30", "length": "5400", "days": ["mon", "sun"]},
        "proxy": "http://p:3128",
        "bandwidth": "1048576",
        "interval": "600",
        "jitter": "0",
        "reboot_delay": "3600",
    }


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("{update: {reboot-strategy: off}}", {"strategy": "off"}),
        ("{update: {reboot-strategy: reboot}}", {"strategy": "reboot"}),
        ("{update: {reboot-strategy: best-effort}}", {"strategy": "reboot"}),
        (
            "{update: {group: beta, server: 'https://u.example'}}",
            {"channel": "beta", "server": "https://u.example"},
        ),
        (
            "{locksmith: {window-start: 'Thursday 4:00', window-length: 1h30m}}",
            {
                "strategy": "window",
                "window": {"start": "04:00", "length": "5400", "days": ["thu"]},
            },
        ),
        (
            "{locksmith: {window-start: 14:00, window-length: 1h}, update: {group: beta}}",
            {
                "channel": "beta",
                "strategy": "window",
                "window": {"start": "14:00", "length": "3600"},
            },
        ),
        (
            "{update: {reboot-strategy: off}, locksmith: {window-start: 14:00, window-length: 1h}}",
            {"strategy": "off"},
        ),
    ],
)
def test_coreos_words_mean_what_they_meant(body: str, found: object) -> None:
    assert settings(f"coreos: {body}") == found


def test_a_window_alone_is_the_strategy() -> None:
    body = "bedplate: {update: {window: {start: 03:30, length: 1h}}}"
    assert settings(body) == {"strategy": "window", "window": {"start": "03:30", "length": "3600"}}


def test_nothing_said_is_nothing_done() -> None:
    assert update.render(config("coreos: {locksmith: {group: a}}"), Facts()) == Desired()


def test_a_password_in_a_url_is_not_for_everybody() -> None:
    open_to_all = update.render(config("coreos: {update: {group: beta}}"), Facts())
    assert (only(open_to_all).mode, only(open_to_all).secret) == (0o644, False)
    body = "bedplate: {update: {server: 'https://me:pw@u.example'}}"
    found = only(update.render(config(body), Facts()))
    assert (found.mode, found.secret) == (0o600, True)


def test_both_sections_may_say_the_same() -> None:
    body = "coreos: {update: {group: beta}}\nbedplate: {update: {channel: beta}}"
    assert settings(body) == {"channel": "beta"}


def test_contradictions_are_told_by_key() -> None:
    with pytest.raises(DocumentError) as caught:
        config(
            "coreos:\n"
            "  update: {group: beta, reboot-strategy: reboot, server: 'https://a.example'}\n"
            "  locksmith: {window-start: 14:00, window-length: 1h}\n"
            "bedplate: {update: {channel: stable, strategy: off, server: 'https://a.example'}}\n"
        )
    assert [str(each).partition(" contradict")[0] for each in caught.value.problems] == [
        "c.yaml:3:19: coreos.update.group and bedplate.update.channel",
        "c.yaml:4:29: coreos.locksmith.window-start and bedplate.update.strategy",
    ]


def test_a_window_that_nothing_looks_at_is_warned_of() -> None:
    body = "locksmith: {window-start: 4:00, window-length: 1h}"
    text = f"#cloud-config\ncoreos: {{{body}, update: {{reboot-strategy: off}}}}\n"
    (warning,) = read_document(text.encode(), Path("c.yaml")).warnings
    assert str(warning).startswith("c.yaml:2:36: the window does nothing")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("coreos: {update: {reboot-strategy: etcd-lock}}", "the strategy etcd-lock needs etcd"),
        ("coreos: {locksmith: {window-start: 14:00}}", "belong together"),
        ("coreos: {locksmith: {window-start: 25:00}}", "is not `HH:MM`"),
        ("coreos: {update: {server: 'https://u.example/?a'}}", "is not an http or https URL"),
        ("bedplate: {update: {window: {start: 3:30, length: 1h}}}", "is not a time such as"),
        ("bedplate: {update: {window: {start: 03:30, length: 59s}}}", "from 60 s to 86400 s"),
        ("bedplate: {update: {window: {start: 03:30, length: 25h}}}", "from 60 s to 86400 s"),
        ("bedplate: {update: {interval: 500ms}}", "from 1 s to 604800 s"),
        ("bedplate: {update: {strategy: window}}", "needs the key window"),
        (
            "bedplate: {update: {strategy: off, window: {start: 03:30, length: 1h}}}",
            "window beside strategy: off",
        ),
        ("bedplate: {update: {bandwidth: 1000}}", "is not a whole number from 1024"),
    ],
)
def test_what_the_updater_could_not_use_is_refused_in_its_place(body: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        config(body)
    assert message in str(caught.value)
    assert str(caught.value).startswith("c.yaml:2:")


def test_a_url_that_only_the_updater_sees_through_is_refused_without_its_password() -> None:
    found = config("bedplate: {update: {server: 'https://me:pw@[1]/'}}")
    with pytest.raises(RenderError) as caught:
        update.render(found, Facts())
    assert str(caught.value) == (
        "bedplate.update: server: expected an http:// or https:// URL with a host"
    )


URLS = st.from_regex(
    r"https?://([a-z:%]{1,5}@)?[A-Za-z0-9._\-]{1,9}(:[0-9]{1,5})?(/[!-~]{0,9})?", fullmatch=True
)


@given(
    server=URLS,
    start=st.from_regex(r"[0-2][0-9]:[0-6][0-9]", fullmatch=True),
    length=st.from_regex(r"[0-9]{1,5}(s|m|h|ms)?", fullmatch=True),
)
def test_what_the_document_allows_the_updater_reads(server: str, start: str, length: str) -> None:
    quoted = server.replace("'", "''")
    try:
        found = config(
            f"bedplate: {{update: {{server: '{quoted}', channel: stable,"
            f" window: {{start: {start}, length: {length}}}}}}}"
        )
    except DocumentError:
        return
    content = only(update.render(found, Facts())).content
    read = updater_config.parse_fragment(content, Path("update.json"))
    valid = updater_config.validate(updater_config.merge(read))
    assert valid.server == server.rstrip("/")
    assert valid.window is not None
    assert valid.window.start.isoformat("minutes") == start
