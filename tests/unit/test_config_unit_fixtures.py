"""Units, mounts and swap: fixtures in `unit_fixtures`, which say what comes of them.

That systemd finds nothing wrong with it is tried with the same fixtures (tests/vm).
"""

from pathlib import Path

import pytest

from asserted import about, assertions, below, check, check_problems
from cloudconfig.document import read_document
from cloudconfig.facts import Facts
from cloudconfig.render.units import FOLDER
from cloudconfig.rendering import render_all
from hostkit.document.source import DocumentError

FIXTURES = Path(__file__).parent / "unit_fixtures"
FACTS = Facts(
    passwd="root:x:0:0::/:/x\n",  # noqa: S106 - the name of a file
    group="root:x:0:\n",
    memory=1 << 30,
)


@pytest.mark.parametrize("name", sorted(path.name for path in FIXTURES.glob("*.yaml")))
def test_a_fixture_is_as_it_says(name: str) -> None:
    path = FIXTURES / name
    text = path.read_text()
    asserted = assertions(text)
    if errors := about(asserted, "error"):
        with pytest.raises(DocumentError) as error:
            read_document(text.encode(), path)
        check_problems(error.value.problems, errors)
        return
    document = read_document(text.encode(), path)
    check_problems(document.warnings, about(asserted, "warning"))
    rendered = below(FOLDER, render_all(document.config, FACTS))
    for verb, words in asserted:
        if verb != "warning":
            check(verb, words, rendered)
