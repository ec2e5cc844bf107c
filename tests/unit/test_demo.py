"""What the demo gives its host, and what it takes for the container's page."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import yaml

from builder.config_cli import examine
from builder.demo import _page
from builder.demo_page import PORT, fetched, filled, page_image
from builder.vm.certificate import self_signed
from builder.vm.wait import VmError

if TYPE_CHECKING:
    from builder.vm.machine import Machine

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "builder/demo.yaml").read_text()
SAID = (
    "Hello from a container on Bedplate 2.\n"
    "It is called page, and its first process is: httpd -f -h /www \n"
)


def test_the_readme_shows_the_document() -> None:
    assert f"```yaml\n{DOCUMENT}```\n" in (ROOT / "README.md").read_text()


def test_the_filled_document_is_right(tmp_path: Path) -> None:
    certificate, _ = self_signed("10.0.2.2")
    digest = page_image(b"busybox").manifest.digest
    text = filled(
        DOCUMENT, updates=1234, registry=2345, digest=digest, certificate=certificate.decode()
    )
    file = tmp_path / "demo.yaml"
    file.write_text(text)
    assert [str(finding) for finding in examine(file)] == []
    found = yaml.safe_load(text)
    assert found["bedplate"]["update"]["server"] == "http://10.0.2.2:1234"
    (pod,) = found["bedplate"]["pods"]
    (container,) = yaml.safe_load(pod["manifest"])["spec"]["containers"]
    assert container["image"] == f"10.0.2.2:2345/page@{digest}"
    assert container["ports"] == [{"containerPort": 80, "hostPort": PORT}]
    assert found["ca-certs"]["trusted"] == [certificate.decode()]
    assert ":5000" not in text
    assert ":8000" not in text


class Host:
    """A machine as far as the demo asks it here, and what answers at its port."""

    def __init__(self) -> None:
        self.running = True
        self.said = ""


@contextmanager
def answering(host: Host) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if host.said:  # else it hangs up, as QEMU does where nobody listens
                self.send_response(200)
                self.send_header("Content-Length", str(len(host.said)))
                self.end_headers()
                self.wfile.write(host.said.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "other",
    [
        "",
        SAID.replace("2.", "1."),
        SAID.replace("2.", "22."),
        SAID.replace("page,", "demo,"),
        SAID.replace("httpd -f", "systemd"),
        SAID + "x" * 70000,
    ],
)
def test_only_the_container_on_release_2_says_so(other: str) -> None:
    host = Host()
    with answering(host) as url:
        host.said = other
        assert fetched(url, "Bedplate 2") is None
        host.said = SAID
        assert fetched(url, "Bedplate 2") == SAID
    assert fetched(url, "Bedplate 2") is None


def test_a_machine_that_is_gone_is_not_waited_for() -> None:
    host = Host()
    machine = cast("Machine", host)
    host.said = SAID
    with answering(host) as url:
        assert _page(machine, url) == SAID
        host.running = False
        with pytest.raises(VmError, match="QEMU ended before"):
            _page(machine, url)
