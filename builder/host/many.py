"""One verb on many hosts: so many at the same time, each told in one line, and a sum."""

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from builder.host.access import Identity
from builder.host.client import Client
from builder.host.outcome import OK, Outcome
from builder.host.target import Target
from updater.errors import BedplateError

FAILED = "failed"
LEFT_OUT = "not tried"

Do = Callable[[Client], Outcome]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one host; `error` where there is no outcome."""

    target: Target
    outcome: Outcome | None
    error: str = ""

    @property
    def verdict(self) -> str:
        """How it counts."""
        if self.outcome is not None:
            return self.outcome.verdict
        return FAILED if self.error else LEFT_OUT

    @property
    def line(self) -> str:
        """The host in one line, without its name."""
        if self.outcome is not None:
            return self.outcome.line
        name = f"{self.target.name}: "
        return f"{FAILED}: {self.error.removeprefix(name)}" if self.error else LEFT_OUT

    def plain(self) -> dict[str, object]:
        """As values of JSON."""
        told: dict[str, object] = {
            "name": self.target.name,
            "address": self.target.address,
            "verdict": self.verdict,
        }
        if self.outcome is not None:
            return told | {"answer": dict(self.outcome.document)}
        return told | ({"error": self.error} if self.error else {})


@dataclass(slots=True)
class Crew:
    """Hosts that are worked on at the same time; `stop_at_failure` begins no other after one."""

    identity: Identity
    do: Do
    at_once: int
    stop_at_failure: bool = False
    _open: set[Client] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False

    def work(self, targets: Sequence[Target]) -> Generator[Result, None, None]:
        """Each host's result as it comes, and those that were not tried last.

        Who is interrupted meanwhile closes what is open: no thread stays behind.
        """
        waiting = list(reversed(targets))
        running: dict[Future[Result], Target] = {}
        pool = ThreadPoolExecutor(max_workers=self.at_once, thread_name_prefix="host")
        try:
            while running or (waiting and not self._stopped):
                while waiting and len(running) < self.at_once and not self._stopped:
                    target = waiting.pop()
                    running[pool.submit(self._one, target)] = target
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    result = future.result()
                    if self.stop_at_failure and result.verdict != OK:
                        self._stopped = True
                    yield result
            yield from (Result(target, None) for target in reversed(waiting))
        finally:
            self._stopped = True
            with self._lock:
                for client in self._open:
                    client.close()
            pool.shutdown(wait=True, cancel_futures=True)

    def _one(self, target: Target) -> Result:
        try:
            with closing(Client(target, self.identity)) as client, self._kept(client):
                return Result(target, self.do(client))
        except BedplateError as error:
            return Result(target, None, str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return Result(target, None, f"{where}{error.strerror or error}")

    @contextmanager
    def _kept(self, client: Client) -> Iterator[None]:
        with self._lock:
            self._open.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(client)


def total(results: Sequence[Result]) -> str:
    """The sum: "5 hosts: 4 ok, 1 failed"."""
    counted = counts(results)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counted.items())
    return f"{len(results)} host{'' if len(results) == 1 else 's'}: {told}"


def counts(results: Sequence[Result]) -> Mapping[str, int]:
    """How many there are of each verdict; those that are ok come first."""
    counted = Counter(each.verdict for each in results)
    return {OK: counted.pop(OK, 0), **counted}
