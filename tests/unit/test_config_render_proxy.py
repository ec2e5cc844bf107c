"""The proxy in the environment of every service and of podman."""

import shlex
import tomllib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.model.bedplate import Bedplate, Proxy
from cloudconfig.model.top import CloudConfig
from cloudconfig.render import proxy
from hostkit.document.source import DocumentError

PODMAN = PurePosixPath("/etc/containers/containers.conf.d/50-bedplate-proxy.conf")


def rendered(body: str) -> Desired:
    text = f"#cloud-config\nbedplate: {{proxy: {body}}}\n"
    return proxy.render(read_document(text.encode(), Path("c.yaml")).config, Facts())


def test_all_spellings_are_set() -> None:
    desired = rendered(
        "{http: 'http://p:3128', https: 'http://q:3128/', no-proxy: [localhost, 10.0.0.0/8]}"
    )
    content = (
        b"[Manager]\n"
        b'DefaultEnvironment="http_proxy=http://p:3128" "HTTP_PROXY=http://p:3128"'
        b' "https_proxy=http://q:3128/" "HTTPS_PROXY=http://q:3128/"'
        b' "no_proxy=localhost,10.0.0.0/8" "NO_PROXY=localhost,10.0.0.0/8"\n'
    )
    path = PurePosixPath("/etc/systemd/system.conf.d/50-bedplate-proxy.conf")
    affects = (Affects("bedplate-updated.service"),)
    podman = (
        b"[engine]\n"
        b"env = [\n"
        b'  "http_proxy=http://p:3128",\n'
        b'  "HTTP_PROXY=http://p:3128",\n'
        b'  "https_proxy=http://q:3128/",\n'
        b'  "HTTPS_PROXY=http://q:3128/",\n'
        b'  "no_proxy=localhost,10.0.0.0/8",\n'
        b'  "NO_PROXY=localhost,10.0.0.0/8",\n'
        b"]\n"
    )
    assert desired == Desired(
        items=(File(path, content, affects=affects), File(PODMAN, podman)),
    )


def test_a_password_is_not_for_everybody() -> None:
    # systemd reads %% as %.
    words = (b"http://me:p%%20w@p:3128", b"http://me:p%20w@p:3128")
    for file, word in zip(rendered("{http: 'http://me:p%20w@p:3128'}").items, words, strict=True):
        assert isinstance(file, File)
        assert (file.mode, file.secret) == (0o600, True)
        assert word in file.content


def test_nothing_said_is_nothing_done() -> None:
    assert rendered("{}") == Desired()


@pytest.mark.parametrize("url", ["p:3128", "socks5://p", "http://", "http://p:0", "http://p:65536"])
def test_a_proxy_is_a_url(url: str) -> None:
    with pytest.raises(DocumentError, match="is not an http or https URL"):
        rendered(f"{{http: '{url}'}}")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E)))
def test_no_value_gets_out_of_its_quotes(rest: str) -> None:
    config = CloudConfig(bedplate=Bedplate(proxy=Proxy(http=f"http://{rest}")))
    file, podman = proxy.render(config, Facts()).items
    assert isinstance(file, File)
    assert isinstance(podman, File)
    head, assignments, end = file.content.decode().split("\n")
    assert (head, end) == ("[Manager]", "")
    # Within double quotes a shell reads \\ and \" as systemd does; % is systemd's own.
    words = shlex.split(assignments.removeprefix("DefaultEnvironment=").replace("%%", "%"))
    expected = [f"http_proxy=http://{rest}", f"HTTP_PROXY=http://{rest}"]
    assert words == expected
    assert tomllib.loads(podman.content.decode()) == {"engine": {"env": expected}}
