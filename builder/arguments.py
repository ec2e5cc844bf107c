"""Types of arguments that more than one command has; `argparse` tells what they raise."""

from argparse import ArgumentTypeError

_HIGHEST_PORT = 65535


def port(raw: str) -> int:
    """A port to listen at; 0 takes a free one.

    Raises:
        ArgumentTypeError: anything else.
    """
    if not raw.isascii() or not raw.isdecimal() or len(raw) > 5 or int(raw) > _HIGHEST_PORT:
        raise ArgumentTypeError(f"{raw[:20]!r}: expected 0 to {_HIGHEST_PORT}")
    return int(raw)


def address(raw: str) -> str:
    """An IP address or a host's name, as far as one can be looked up.

    Raises:
        ArgumentTypeError: no name can be so.
    """
    try:
        # As `socket` does it, which gives a UnicodeError and no OSError.
        raw.encode("idna")
    except UnicodeError:
        raise ArgumentTypeError(f"{raw[:80]!r}: expected an IP address or a host's name") from None
    return raw
