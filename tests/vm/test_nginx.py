"""Any web server will do: nginx serves a repository, and the updater's own client reads it."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import requests

from builder.run import spawn
from builder.steps.toolbox import toolbox
from builder.vm.wait import wait_until
from site_of_tests import Site, tools
from updater import trust
from updater.fetch import Fetcher, Limits

_CONFIGURATION = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {served}; }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def nginx(served: Path, folder: Path) -> Iterator[str]:
    """The URL of Debian's nginx, run from the tool tree, serving a folder."""
    folder.mkdir()
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, served=served))
    sandbox = toolbox(tools(), folder, served)
    process = spawn(
        sandbox.argv(["nginx", "-e", "stderr", "-c", str(configuration)]), output=folder / "log"
    )
    try:

        def up() -> bool | None:
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return requests.get(f"http://127.0.0.1:{port}/", timeout=5).status_code > 0
            except requests.ConnectionError:
                return None

        wait_until(up, 30, "nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_a_host_reads_a_repository_that_nginx_serves(site: Site, tmp_path: Path) -> None:
    build = site.release("1")
    served = site.repository(tmp_path / "repository", build)
    wire = (build / "root.wire").read_bytes()
    (tmp_path / "cache").mkdir()
    with nginx(served, tmp_path / "nginx") as url:
        repository = trust.Repository(
            server=url,
            proxy=None,
            cache=tmp_path / "cache/tuf",
            first_root=site.blank / "metadata/1.root.json",
        )
        with trust.session(repository, datetime.now(UTC)) as session:
            assert [str(each.version) for each in session.channel("stable").releases] == ["1"]
        fetcher = Fetcher(Limits(total_seconds=300))
        address = f"{url}/targets/releases/1/root.wire"
        part = b"".join(fetcher.stream(address, 1_000_000, 3_000_000))
    assert fetcher.ranged
    assert hashlib.sha256(part).digest() == hashlib.sha256(wire[1_000_000:3_000_000]).digest()
