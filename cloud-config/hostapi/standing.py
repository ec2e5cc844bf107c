"""Which certificate the API shows, and whether to ask for another. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Source(Enum):
    """Where a certificate comes from."""

    DOCUMENT = "document"  # the cloud-config brought it along
    ENROLLED = "enrolled"  # the issuing service gave it to this host


class Ask(Enum):
    """What to ask the issuing service for."""

    NOTHING = "nothing"
    ENROL = "enrol"  # with the document's token
    RENEW = "renew"  # with the certificate that is in use


@dataclass(frozen=True, slots=True)
class Found:
    """A certificate that was looked at; `name` and `role` are its subject's CN and O.

    `fits` says that the key beside it is its own, `trusted` that an authority of the document
    signed it, `revoked` that a list of the document has it.
    """

    fingerprint: str
    name: str
    role: str
    start: datetime
    ends: datetime
    addresses: tuple[str, ...] = ()
    fits: bool = True
    trusted: bool = True
    revoked: bool = False

    def is_due(self, now: datetime) -> bool:
        """Whether less than a third of its life is left."""
        return now >= self.ends - (self.ends - self.start) / 3


@dataclass(frozen=True, slots=True)
class View:
    """What there is: `brought` by the document, `kept` from an enrolment; and what is wanted.

    `now` is the time by all that is known, so it is not behind; it may be ahead.
    """

    now: datetime
    hostname: str
    enrols: bool
    brought: Found | None = None
    kept: Found | None = None
    renewal_wanted: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to show, None for nothing; what to ask for first, and why."""

    source: Source | None
    ask: Ask
    reason: str


def plan(view: View) -> Plan:
    """What to do. A certificate past its end is shown all the same: the clock may be wrong."""
    if view.brought:
        if not view.brought.fits:
            return Plan(None, Ask.NOTHING, "the key in the document is not the certificate's")
        return Plan(Source.DOCUMENT, Ask.NOTHING, "the document brings a certificate")
    if not view.enrols:
        return Plan(None, Ask.NOTHING, "the document has neither a certificate nor enrol")
    return _enrolled(view)


def _enrolled(view: View) -> Plan:
    kept = view.kept
    if kept is None:
        return Plan(None, Ask.ENROL, "there is no certificate yet")
    if wrong := _unusable(kept, view.hostname):
        return Plan(None, Ask.ENROL, wrong)
    ask, reason = Ask.NOTHING, "the certificate holds"
    if view.now >= kept.ends:
        ask, reason = Ask.ENROL, f"the certificate ended on {kept.ends:%Y-%m-%d}"
    elif view.renewal_wanted:
        ask, reason = Ask.RENEW, "somebody asked for it"
    elif kept.is_due(view.now):
        ask, reason = Ask.RENEW, f"the certificate ends on {kept.ends:%Y-%m-%d}"
    return Plan(Source.ENROLLED, ask, reason)


def _unusable(kept: Found, hostname: str) -> str:
    """Why a certificate is none to show, whatever the time; empty if it is."""
    if not kept.fits:
        return "the certificate that is kept has another key"
    if kept.name != hostname:
        return f"the certificate that is kept is for the name {kept.name}"
    if not kept.trusted:
        return "no authority of the document signed the certificate that is kept"
    return "the certificate that is kept is revoked" if kept.revoked else ""


def reached_by(certificate: Found, addresses: tuple[str, ...], hostname: str) -> str:
    """What to write into a URL of this host: an address of the certificate's, if it has one."""
    named = [each for each in certificate.addresses if each in addresses]
    # What it is not known by a client would not believe; an address may also come later.
    return next(iter((*named, *certificate.addresses, *addresses)), hostname)


def note(certificate: Found, address: str, port: int, now: datetime, fault: str) -> str:
    """The console's line."""
    host = f"[{address}]" if ":" in address else address
    words = [f"https://{host}:{port} {certificate.fingerprint}"]
    if now >= certificate.ends:
        words.append(f"the certificate ended on {certificate.ends:%Y-%m-%d}")
    return "; ".join([*words, *([fault] if fault else [])])
