"""Run pytest in the lab: `python -m tests.lab tests/net -k lease`."""

import os
import sys
from collections.abc import Sequence

from builder.run import CommandError
from tests.lab import PROJECT, argv, lab_tree

# The conftest above is the workstation's; the project is read only.
_OPTIONS = ("--confcutdir", "tests/net", "-p", "no:cacheprovider")


def main(arguments: Sequence[str]) -> None:
    """Become pytest inside the lab; its exit status is ours."""
    try:
        tree = lab_tree(PROJECT / ".cache", on_line=lambda _line: None)
    except CommandError as error:
        sys.exit(f"tests.lab: {error}")
    command = argv(tree, ["/usr/bin/python3", "-m", "pytest", *_OPTIONS, *arguments])
    os.execvp(command[0], command)  # noqa: S606 - this program becomes that one


if __name__ == "__main__":
    main(sys.argv[1:])
