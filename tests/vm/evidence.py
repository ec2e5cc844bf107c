"""What a failing VM test leaves: its guest's console and journal, in build/failures/."""

import re
from collections.abc import Generator
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
    # A fixture is a guest, or has one.
    guests = [getattr(value, "guest", value) for value in fixtures.values()]
    guest = next((each for each in guests if isinstance(each, Guest)), None)
    if report.when == "call" and report.failed and guest is not None:
        folder = PROJECT / "build/failures" / re.sub(r"[^\w.-]+", "-", item.name)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("console", guest.machine.console(since=0)),
            ("journal", guest.journal()),
        ):
            path = folder / f"{name}.log"
            path.write_text(text)
            end = "\n".join(text.splitlines()[-_SHOWN_LINES:])
            report.sections.append((f"the end of {path.relative_to(PROJECT)}", end))
    return report
