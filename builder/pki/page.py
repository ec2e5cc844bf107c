"""A folder of certificates for people and for programs. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from builder.pki.register import Authority, Issued, Register, Stage
from builder.sheets import BAD, BUSY, GOOD, Row, Sheet
from updater.strict import render_time

_LIST_WARNING = timedelta(days=60)


class State(Enum):
    """How a certificate stands."""

    VALID = "valid"
    DUE = "due"  # less than a third of its life is left
    ENDED = "ended"
    REVOKED = "revoked"


_STYLE = {State.VALID: GOOD, State.DUE: BUSY, State.ENDED: BAD, State.REVOKED: ""}


@dataclass(frozen=True, slots=True)
class Look:
    """A register at a time."""

    register: Register
    now: datetime

    def state(self, issued: Issued) -> State:
        """How one stands."""
        if issued.revoked:
            return State.REVOKED
        if self.now >= issued.ends:
            return State.ENDED
        return State.DUE if issued.is_due(self.now) else State.VALID

    def warnings(self) -> list[str]:
        """What somebody should do soon."""
        found = []
        for each in self.register.trusted():
            if self.now >= each.list_ends - _LIST_WARNING:
                found.append(
                    f"the revocation list of {each.ident} ends on {each.list_ends:%Y-%m-%d}, and"
                    " after that hosts let nobody in: make a new one with bedplate pki crl, and"
                    " give it to the hosts"
                )
            if self.now >= each.ends - timedelta(days=365) and each.stage is Stage.ISSUING:
                found.append(
                    f"the authority {each.ident} ends on {each.ends:%Y-%m-%d}: begin with bedplate"
                    " pki rotate"
                )
        found += [
            f"{each.name} ends on {each.ends:%Y-%m-%d}: bedplate pki renew {each.name}"
            for each in self.register.current()
            if each.filed and self.state(each) is State.DUE
        ]
        return found


def sheets(look: Look, *, every: bool) -> list[Sheet]:
    """Tables of authorities, certificates and open tokens; of each name the newest, or `every`."""
    register = look.register
    found = [
        Sheet(
            "Authorities",
            ("authority", "stage", "until", "list until"),
            tuple(
                Row((each.ident, each.stage.value, _day(each.ends), _day(each.list_ends)))
                for each in register.authorities
            ),
        ),
        Sheet(
            "Certificates",
            ("name", "role", "state", "until", "left", "authority", "serial"),
            tuple(_row(look, each) for each in (register.issued if every else register.current())),
        ),
    ]
    opened = [each for each in register.tokens if not each.used_by and look.now < each.ends]
    if opened:
        rows = tuple(Row((each.name, render_time(each.ends))) for each in opened)
        found.append(Sheet("Open tokens", ("host", "until"), rows))
    return found


def document(look: Look) -> dict[str, object]:
    """All of it as JSON values (schema 1), without keys and tokens; times are RFC 3339."""
    register = look.register
    newest = {each.serial for each in register.current()}
    return {
        "schema": 1,
        "authorities": [_plain_authority(each) for each in register.authorities],
        "certificates": [
            {
                "name": each.name,
                "role": each.kind.word,
                "serial": f"{each.serial:X}",
                "authority": each.authority,
                "not_before": render_time(each.start),
                "not_after": render_time(each.ends),
                "state": look.state(each).value,
                "due": each.holds(look.now) and each.is_due(look.now),
                "revoked": each.revoked and render_time(each.revoked),
                "newest": each.serial in newest,
                "enrolled": not each.filed,
            }
            for each in register.issued
        ],
        "tokens": [
            {"name": each.name, "until": render_time(each.ends), "used": each.used_by is not None}
            for each in register.tokens
        ],
        "warnings": look.warnings(),
    }


def _plain_authority(each: Authority) -> dict[str, object]:
    return {
        "id": each.ident,
        "stage": each.stage.value,
        "not_after": render_time(each.ends),
        "list_until": render_time(each.list_ends),
        "list_number": each.list_number,
    }


def _row(look: Look, each: Issued) -> Row:
    state = look.state(each)
    left = _left(each.ends - look.now) if each.holds(look.now) else ""
    cells = (each.name, each.kind.word, state.value, _day(each.ends), left, each.authority)
    return Row((*cells, f"{each.serial:X}"), _STYLE[state])


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _left(left: timedelta) -> str:
    hours = int(left.total_seconds()) // 3600
    return f"{hours // 24}d" if hours >= 48 else f"{hours}h"
