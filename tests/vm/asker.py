"""A client that asks a host how it is, all the time, and what it was refused."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.host import access, waiting
from builder.host.access import Files
from builder.host.client import Client
from builder.host.errors import HostError, UnreachableError
from builder.host.target import Target
from site_of_tests import PASSPHRASE

_PAUSE = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the id of the boot that answered it, or why nothing did."""

    boot: str = ""
    fault: HostError | None = None


def gaps(asked: Sequence[Asked]) -> list[str]:
    """What a client sees of a gap; empty if there is none.

    Distrust and refusals are one at any time; no answer is one between two of the same boot: a
    host that reboots is away meanwhile.
    """
    found: list[str] = []
    away: list[str] = []
    boot = ""
    for each in asked:
        if each.fault is None:
            found += away if each.boot == boot else []
            boot, away = each.boot, []
        elif isinstance(each.fault, UnreachableError):
            away.append(str(each.fault))
        else:
            found.append(str(each.fault))
    return found


class Asker:
    """Asks while the block runs, by a thread, each time with the certificates that are there."""

    def __init__(self, target: Target, folder: Path, name: str) -> None:
        """`name` is whose certificate in `folder` is shown."""
        self.asked: list[Asked] = []
        self._target = target
        self._files = Files(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
        self._ended = threading.Event()
        self._thread = ThreadPoolExecutor(1, "asker")
        self._work: Future[None] | None = None

    def __enter__(self) -> Self:
        self._work = self._thread.submit(self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.shutdown()
        if self._work is not None:
            self._work.result()

    @property
    def boots(self) -> list[str]:
        """The boots that answered, in order."""
        return list(dict.fromkeys(each.boot for each in tuple(self.asked) if each.boot))

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            self.asked.append(self._ask())

    def _ask(self) -> Asked:
        client = Client(self._target, access.load(self._files, lambda _opens: PASSPHRASE))
        try:
            return Asked(boot=waiting.boot_of(client))
        except HostError as error:
            return Asked(fault=error)
        finally:
            client.close()
