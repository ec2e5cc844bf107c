"""Where the passphrase of a key store comes from; where none is to be had, that is an error."""

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from builder.trust.errors import PassphraseError

VARIABLE = "BEDPLATE_PASSPHRASE"
MINIMUM_LENGTH = 8

PassphraseSource = Callable[[str], str]
"""Asked with what the passphrase opens ("key store /srv/keys"); raises PassphraseError."""


def from_surroundings(file: Path | None, *, confirm: bool = False) -> PassphraseSource:
    """The passphrase from `file` (its first line), else BEDPLATE_PASSPHRASE, else a terminal.

    `confirm` asks a person twice, for a passphrase that is about to be set.
    """
    if file is not None:
        return lambda _opens: _from_file(file)
    if VARIABLE in os.environ:
        return lambda _opens: _not_empty(os.environ[VARIABLE], f"{VARIABLE} is set but empty")
    return lambda opens: _from_terminal(opens, confirm=confirm)


def check_strength(passphrase: str) -> None:
    """Refuse a passphrase that is too short to protect a key that is about to be written."""
    if len(passphrase) < MINIMUM_LENGTH:
        raise PassphraseError(
            f"the passphrase has {len(passphrase)} characters; "
            f"a key is protected by {MINIMUM_LENGTH} or more"
        )


def _from_file(file: Path) -> str:
    try:
        first, *_ = file.read_text(encoding="utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError) as error:
        raise PassphraseError(f"{file}: the passphrase cannot be read: {error}") from error
    return _not_empty(first, f"{file}: the first line holds no passphrase")


def _from_terminal(opens: str, *, confirm: bool) -> str:
    if not sys.stdin.isatty():
        raise PassphraseError(
            f"no passphrase for {opens}: set {VARIABLE}, give --passphrase-file, "
            "or run this on a terminal"
        )
    given = _not_empty(getpass.getpass(f"Passphrase of {opens}: "), "no passphrase was typed")
    if confirm and getpass.getpass("The same once more: ") != given:
        raise PassphraseError("the two passphrases differ; nothing was written")
    return given


def _not_empty(passphrase: str, otherwise: str) -> str:
    if not passphrase:
        raise PassphraseError(otherwise)
    return passphrase
