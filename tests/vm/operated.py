"""A host without a login, and who operates it by its API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.run import CommandError
from builder.vm.wait import wait_until
from metadata_servers import Answer, Request, Server, files
from site_of_tests import BOOT_SECONDS, Guest
from workstation import Workstation

SECONDS = 900.0  # for an emulated host to come to something
REBOOT = ("--wait", "--timeout", str(2 * BOOT_SECONDS))


@dataclass(frozen=True, slots=True)
class Operated:
    """A host, by the name in its certificate, who operates it, and the document that it has."""

    name: str
    guest: Guest
    workstation: Workstation
    document: Path

    def ask(self, *words: str, who: str = "ops") -> str:
        """What `bedplate host` prints."""
        return self.workstation.host(self.guest, self.name, *words, who=who)

    def answer(self, *words: str, who: str = "ops") -> dict[str, Any]:
        """The same as JSON."""
        found: dict[str, Any] = json.loads(self.ask(*words, "--json", who=who))
        return found

    def extensions(self) -> dict[str, Any]:
        """What became of the extensions, by name."""
        return {each["name"]: each for each in self.answer("extension", "list")["extensions"]}

    def stage(self) -> None:
        """Have the offered release staged, as soon as no other look for one is under way."""

        def staged() -> bool | None:
            try:
                self.ask("stage")
            except CommandError as error:
                if "busy" not in str(error) and "at work" not in str(error):
                    raise
                return None
            return self.answer("update")["status"]["state"] == "staged" or None

        wait_until(staged, SECONDS, "the release in the other slot")

    def wait_until_up(self) -> None:
        """Wait until the API answers."""

        def up() -> bool | None:
            try:
                return bool(self.ask("status", who="eve")) or None
            except CommandError:
                return None

        wait_until(up, SECONDS, "the API")


@contextmanager
def sourcing(document: Path) -> Iterator[dict[str, str]]:
    """A document as it is at each boot, by NoCloud over HTTP; the firmware's words that say so."""

    def answer(request: Request) -> Answer:
        found = {"user-data": document.read_bytes(), "meta-data": b"instance-id: i-1\n"}
        return files(found)(request)

    with Server(answer) as server:
        yield {"serial": f"ds=nocloud;s=http://10.0.2.2:{server.port}/"}
