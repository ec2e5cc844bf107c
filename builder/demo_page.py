"""The demo's container: its image, the document that declares it, and the page that it serves."""

import textwrap
from pathlib import PurePosixPath

from builder.vm.ociimage import Image, ImageFile, make_image
from updater.fetch import Fetcher, FetchError, Limits

NAME = "page:1"
# As in the document; ports of this machine that are free, and the image's digest, take their place.
ADDRESS = "10.0.2.2"  # this machine's, as the host knows it
_UPDATES = f"http://{ADDRESS}:8000"
_IMAGE = f"{ADDRESS}:5000/{NAME}"
PORT = 8080  # of the host, in the document
_LENGTH = 64 * 1024  # bytes of the page at most
# Of one try; QEMU takes connections whether or not somebody listens behind the port.
_LIMITS = Limits(connect_seconds=10, gap_seconds=30, total_seconds=60, retries=0)
_APPLETS = ("hostname", "httpd", "printf", "sh", "tr")
# What is served at /: in the container's own words, since only there they are so.
_PAGE = """\
#!/bin/sh
. /host/os-release
page="Hello from a container on $PRETTY_NAME.
It is called $(hostname), and its first process is: $(tr '\\0' ' ' </proc/1/cmdline)
"
printf 'Content-Type: text/plain\\r\\nContent-Length: %d\\r\\n\\r\\n%s' "${#page}" "$page"
"""


def page_image(busybox: bytes) -> Image:
    """An image that serves a page on port 80; `busybox` is a static one with httpd and sh."""
    tools = [ImageFile(PurePosixPath("bin", each), link="busybox") for each in _APPLETS]
    return make_image(
        [
            ImageFile(PurePosixPath("bin/busybox"), busybox, 0o755),
            *tools,
            ImageFile(PurePosixPath("www/cgi-bin/index.cgi"), _PAGE.encode(), 0o755),
        ],
        ["httpd", "-f", "-h", "/www"],
        # A first process does not get a SIGTERM that it has no handler for.
        stop_signal="SIGKILL",
    )


def filled(document: str, *, updates: int, registry: int, digest: str, certificate: str) -> str:
    """The demo's document with ports of this machine, the image's digest and whom to trust."""
    document = document.replace(_UPDATES, f"http://{ADDRESS}:{updates}")
    document = document.replace(_IMAGE, f"{ADDRESS}:{registry}/page@{digest}")
    return f"{document}ca-certs:\n  trusted:\n    - |\n{textwrap.indent(certificate, '      ')}"


def fetched(url: str, release: str) -> str | None:
    """The page, if the container gives it on a host that calls itself `release` (os-release(5))."""
    try:
        text = Fetcher(_LIMITS).small(url, _LENGTH).decode(errors="replace")
    except FetchError:
        return None
    return text if _is_page(text, release) else None


def _is_page(text: str, release: str) -> bool:
    return f"on {release}.\n" in text and "called page," in text and "httpd -f" in text
