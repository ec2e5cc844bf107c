"""What comes once a document is applied: a message, and on an instance's first boot a call home."""

import time
from pathlib import Path

import pytest

from cloudconfig import finish
from cloudconfig.compiled import Compiled
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.host import Prepared
from cloudconfig.places import Places
from cloudconfig.rendering import render_all
from cloudconfig.report import ConfigStatus, InForce
from cloudconfig.store import Input
from updater.errors import BedplateError

NOON = time.gmtime(1_000_000_000)


def prepared(body: str) -> Prepared:
    document = f"#cloud-config\n{body}\n".encode()
    desired = render_all(read_document(document, Path("c.yaml")).config, Facts())
    given = Input(document, Path("c.yaml"), "credential", instance_id="i-1")
    return Prepared(given, Compiled(desired), ConfigStatus(InForce.DOCUMENT))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("up $UPTIME s by $datasource", "up 12.3 s by credential"),
        ("$TIMESTAMP ${version}\n", "Sun, 09 Sep 2001 01:46:40 +0000 bedplate"),
        ("$uptimes $Uptime $ $$version", "$uptimes $Uptime $ $bedplate"),
    ],
)
def test_the_final_message_knows_cloud_init_s_names(text: str, said: str) -> None:
    assert finish.message(text, "credential", 12.34, NOON) == said


@pytest.mark.parametrize(
    ("post", "told"),
    [
        ("all", b"instance_id=i-1&hostname=web&fqdn=web.example.org"),
        ("[hostname]", b"hostname=web"),
        ("[pub_key_rsa]", b"pub_key_rsa=N%2FA"),
    ],
)
def test_a_call_home_names_the_instance_whatever_it_tells(
    tmp_path: Path, post: str, told: bytes
) -> None:
    calls = []
    found = prepared(f"phone_home: {{url: 'https://x/$INSTANCE_ID/', post: {post}}}")
    for _ in range(2):  # the second boot calls nobody
        finish.finish(
            found, Places(tmp_path), "web.example.org", post=lambda *call: calls.append(call)
        )
    assert calls == [("https://x/i-1/", told)]


def test_nobody_at_home_is_told_again_at_the_next_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    calls = 0

    def post(_url: str, _told: bytes) -> None:
        nonlocal calls
        calls += 1
        raise BedplateError("nobody")

    found = prepared("phone_home: {url: 'https://x/', tries: 2}")
    for boot in (1, 2):
        with pytest.raises(BedplateError, match="nobody"):
            finish.finish(found, Places(tmp_path), "web", post=post)
        assert calls == 2 * boot
