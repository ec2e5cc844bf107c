"""What a failing VM test leaves: its guests' consoles and journals, in build/failures/."""

import re
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from site_of_tests import PROJECT, Guest

_SHOWN_LINES = 30


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the evidence of a failure, and show the end of it."""
    del call
    report = yield
    fixtures: dict[str, Any] = getattr(item, "funcargs", {})
    if report.when != "call" or not report.failed:
        return report
    folder = PROJECT / "build/failures" / re.sub(r"[^\w.-]+", "-", item.name)
    guests = {id(guest): guest for value in fixtures.values() for guest in _guests(value)}
    for number, guest in enumerate(guests.values(), 1):
        for name, text in (
            ("console", guest.machine.console(since=0)),
            ("journal", guest.journal()),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / (f"{name}-{number}.log" if len(guests) > 1 else f"{name}.log")
            path.write_text(text)
            end = "\n".join(text.splitlines()[-_SHOWN_LINES:])
            report.sections.append((f"the end of {path.relative_to(PROJECT)}", end))
    return report


def _guests(value: object) -> Iterator[Guest]:
    """A fixture is a guest, has one, or has several nodes, each of which has one."""
    if isinstance(value, tuple | list):
        for each in value:
            yield from _guests(each)
    elif isinstance(value, Guest):
        yield value
    else:
        yield from _guests(getattr(value, "guest", ()))
        yield from _guests(getattr(value, "nodes", ()))
