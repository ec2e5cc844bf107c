"""Build what the VM tests share, so that none of them waits while another one builds.

`make test` runs this beside the tests in the lab, which mostly wait. What is missing or has changed
since is built by the first test that asks for it.
"""

import logging

from builder.report import Reporter
from site_of_tests import CACHE, Site, source_digest
from updater.errors import run_main

BAD_RELEASES = ("panic", "unhealthy", "hang")


def main() -> int:
    """Build the releases and extensions of those tests that `make test` runs."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    site = Site(CACHE / "tests" / source_digest(), Reporter())
    site.prepare()
    for version in ("1", "2", "3"):
        site.release(version)
    for name in BAD_RELEASES:
        site.release("3", f"tests/vm/images/{name}.yaml")
    site.extension_disk("signed", site.signer())
    site.extension("greeting", "tests/vm/images/greeting.yaml", site.signer())
    return 0


if __name__ == "__main__":
    raise SystemExit(run_main(main, "interrupted; what is built is kept"))
