"""`make demo`: two releases, one host, and an update that nobody starts.

It builds releases 1 and 2, offers both, boots 1 in QEMU and watches the host's own console while
the host finds, proves, stages and boots 2 by itself. It ends well only if 2 is seen marked good,
and if the container that the document declares, its image pulled from this machine, then serves its
page to this machine.
"""

import logging
import re
import shutil
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

from builder.build_cli import read_trust
from builder.definition.load import load
from builder.demo_page import ADDRESS, NAME, PORT, fetched, filled, page_image
from builder.pipeline import Options, build
from builder.program import run_program
from builder.report import Reporter, format_size
from builder.serve import Server, serving
from builder.steps.toolbox import tool_tree
from builder.trust import certificates, keys
from builder.trust.publish import Signing
from builder.trust.repository import Repository
from builder.trust.roles import DEFAULT_KEY_NAMES
from builder.vm import registry
from builder.vm.accelerator import accelerator
from builder.vm.config import Forward, MachineConfig, UserNetwork
from builder.vm.machine import Machine
from builder.vm.uki import kernel_of
from builder.vm.wait import VmError, wait_until
from updater.version import Version

_DEFINITION = Path("images/base.yaml")
_CLOUD_CONFIG = Path(__file__).with_name("demo.yaml")
_FOLDER = Path("build/demo")
_CACHE = Path(".cache")
# The keys live as long as the demo's folder and sign nothing that leaves this machine.
_PASSPHRASE = "a demo, and nothing else"  # noqa: S105
_DISK_SIZE = 6 << 30
_BOOT_SECONDS = 1200
_UPDATE_SECONDS = 1800
_PAGE_SECONDS = 900
_ESCAPES = re.compile(r"\x1b\[[0-9;?=!]*[A-Za-z]|\x1b[()][A-Z0-9]|[^\x20-\x7e\n]")


def main() -> int:
    """Run the demo: 0 if release 2 was seen marked good, and then the container's page; else 1."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    return run_program(
        lambda: _run(Reporter()), "interrupted; the host is off, the releases are kept"
    )


def _run(reporter: Reporter) -> int:
    folder, cache = _FOLDER.absolute(), _CACHE.absolute()
    signing = _keys(folder)
    served = folder / "repository"
    published = Repository(served)
    options = Options(folder, cache, trust=read_trust(served, folder / "keys"))
    for text in ("1", "2"):
        definition = load(_DEFINITION, overrides={"version": text})
        built = build(definition, options, reporter)
        published.add(built.folder, signing)
        published.promote(Version.parse(text), "stable", [], signing)
        reporter.summary(f"release {text}: {format_size(built.wire_size)} on the wire")
    tree = tool_tree(cache, "trixie", None, on_line=lambda _line: None)
    page = page_image((tree / "usr/bin/busybox").read_bytes())
    with (
        serving(served) as server,
        registry.serving({NAME: page}, ADDRESS) as images,
        tempfile.TemporaryDirectory(prefix="bedplate-demo.") as name,
    ):
        document = filled(
            _CLOUD_CONFIG.read_text(),
            updates=int(server.url.rpartition(":")[2]),
            registry=images.port,
            digest=page.manifest.digest,
            certificate=images.certificate,
        )
        reporter.info(f"the host's whole configuration:\n\n{document}")
        config = _machine(tree, folder / "bedplate_1", Path(name), document)
        _watch(Machine(config, tree), server, reporter)
    return 0


def _keys(folder: Path) -> Signing:
    """Fresh keys and a fresh repository: a demo starts from nothing but its caches."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    store = folder / "keys"
    keys.generate(store, DEFAULT_KEY_NAMES, _PASSPHRASE)
    for kind in certificates.KINDS:
        certificates.generate_pair(store, kind, _PASSPHRASE)
    ring = keys.KeyRing([keys.KeyStore(store, lambda _opens: _PASSPHRASE)])
    signing = Signing(ring, datetime.now(UTC))
    Repository(folder / "repository").init(signing)
    return signing


def _machine(tree: Path, built: Path, folder: Path, document: str) -> MachineConfig:
    """A machine for release 1, which is in `built`, with its own files in `folder`."""
    kernel = folder / "vmlinuz"
    kernel.write_bytes(kernel_of(built / "bedplate.efi"))
    own = folder / "machine"
    own.mkdir()
    return MachineConfig(
        folder=own,
        accelerator=accelerator(tree, kernel, _CACHE.absolute()),
        image=built / f"{built.name}.qcow2",
        disk_size=_DISK_SIZE,
        # A second emulated processor costs more in waiting for locks than it gives.
        cpus=1,
        credentials={"bedplate.cloud-config": document},
        networks=(UserNetwork(forwards=(Forward(PORT),)),),
    )


def _watch(machine: Machine, server: Server, reporter: Reporter) -> None:
    reporter.info(f"booting release 1 ({machine.config.accelerator}); this is its console")
    with machine:
        done = threading.Event()
        console = threading.Thread(target=_show_console, args=(machine, done), daemon=True)
        console.start()
        with reporter.step("release 1 boots") as step:
            screen = (
                r"version +1 .*\n.*host +demo(\n.*){1,6}health +good(\n.*){1,9}config +document"
            )
            machine.wait_for_console(screen, _BOOT_SECONDS)
            step.note("good")
        with reporter.step("the host updates itself") as step:
            mark = machine.console_size()
            machine.wait_for_console(
                r"version +2 .*(\n.*){1,6}health +good", _UPDATE_SECONDS, since=mark
            )
            step.note(f"{format_size(server.bytes_sent())} downloaded")
        with reporter.step("its container serves a page") as step:
            url = f"http://127.0.0.1:{machine.port(PORT)}/"
            what = f"the container's page at {url}"
            page = wait_until(lambda: _page(machine, url), _PAGE_SECONDS, what, interval=1)
            step.note(url)
        done.set()
    reporter.info(f"the page:\n\n{page}")
    reporter.summary("release 2 runs, marked good, its container serves, and nobody logged in")


def _page(machine: Machine, url: str) -> str | None:
    """The page, if the container on release 2 gives it by now."""
    if not machine.running:
        raise VmError(f"QEMU ended before {machine} served {url}")
    return fetched(url, "Bedplate 2")


def _show_console(machine: Machine, done: threading.Event) -> None:
    """Pass the host's console on, line by line and without terminal controls."""
    rest = ""
    for piece in machine.follow_console():
        *lines, rest = (rest + piece.decode(errors="replace")).split("\n")
        for line in lines:
            if text := _ESCAPES.sub("", line).strip():
                sys.stdout.write(f"    | {text}\n")
        sys.stdout.flush()
        if done.is_set():
            return


if __name__ == "__main__":
    raise SystemExit(main())
