"""The errors that reach a person: one line each, caught in `main()`."""


class BedplateError(Exception):
    """Something failed; the message names what, where and what to do."""

    exit_code = 1


class InputError(BedplateError):
    """What a person gave is wrong: usage, a definition, a configuration."""

    exit_code = 2


class NotYetError(BedplateError):
    """An update must wait until the running release is proven."""
