"""The errors that reach a person: one line each, caught in `main()`."""

import sys
from collections.abc import Callable

_INTERRUPTED = 130


class BedplateError(Exception):
    """Something failed; the message names what, where and what to do."""

    exit_code = 1


class InputError(BedplateError):
    """What a person gave is wrong: usage, a definition, a configuration."""

    exit_code = 2


class NotYetError(BedplateError):
    """An update must wait until the running release is proven."""


def run_main(work: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Run a program, and give its exit status: 1 if it failed, 2 if what it was given is wrong.

    A failure is one line on stderr that starts with `bedplate: `, never a traceback.
    """
    try:
        return work()
    except BedplateError as error:
        message, code = str(error), error.exit_code
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message, code = f"{where}{error.strerror or error}", 1
    except KeyboardInterrupt:
        message, code = interrupted, _INTERRUPTED
    sys.stderr.write(f"bedplate: {message}\n")
    return code
