"""Bootstrap tokens: what a host without a certificate is let in by, once."""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from builder.pki.certificate import check_address
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder
from builder.pki.register import Register, Token, check_name

HOURS = 24
_MOST_HOURS = 24 * 30
_BYTES = 32


def new_token(
    folder: Folder, name: str, *, hours: int = HOURS, addresses: Iterable[str] = ()
) -> tuple[str, Token]:
    """A token for one host, and what is kept of it; an earlier one of that host ends.

    Raises:
        PkiInputError: the name or an address is none, the name has a certificate in the folder, or
            the time is too long.
    """
    check_address(check_name(name))
    if not 1 <= hours <= _MOST_HOURS:
        raise PkiInputError(f"--hours {hours}: expected 1 to {_MOST_HOURS}")
    given = tuple(dict.fromkeys(map(check_address, addresses)))
    secret = secrets.token_urlsafe(_BYTES)
    made = Token(digest_of(secret), name, given, folder.now() + timedelta(hours=hours))

    def step(register: Register) -> Register:
        before = register.latest(name)
        if before and before.filed and before.holds(folder.now()):
            raise PkiInputError(
                f"{name} has a certificate in {folder.path} until {before.ends:%Y-%m-%d}; a host"
                f" that enrols needs none: bedplate pki revoke {name}"
            )
        others = (each for each in register.tokens if each.name != name)
        return replace(register, tokens=(*others, made))

    folder.change(step)
    return secret, made


def digest_of(secret: str) -> str:
    """What is kept of a token: it has 256 bits of chance, so that a plain hash hides it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def refusal(token: Token | None, name: str, key: str, now: datetime) -> str | None:
    """Why a token does not let in a host of that name and public key (its digest). Pure.

    The key that used it may use it again: a host may have lost power before it kept the answer.
    """
    if token is None:
        return "there is no such token"
    if token.name != name:
        return "the token is another host's"
    if now >= token.ends:
        return f"the token ended at {token.ends:%Y-%m-%d %H:%M} UTC"
    if token.used_by not in (None, key):
        return "the token was used by another key"
    return None
