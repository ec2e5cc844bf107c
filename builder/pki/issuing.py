"""What is done with certificates: each is one change of the folder's register."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from builder.pki import certificate as certificates
from builder.pki.certificate import BEHIND, Kind, Signer, Wanted
from builder.pki.errors import PkiInputError
from builder.pki.folder import Folder
from builder.pki.register import Authority, Issued, Register, Stage, check_name
from builder.trust.passphrase import check_strength

AUTHORITY_YEARS = 10
LIST_DAYS = 365
_OF_LISTS = (1, 30 * 365)  # an authority has 30 years at most
_SLACK = timedelta(days=2)
_OF_PEOPLE = (1, 400)
_OF_HOSTS = (2, 400)  # a host looks after its certificate a few times a day
DAYS = {Kind.READER: 30, Kind.OPERATOR: 30, Kind.HOST: 90, Kind.ISSUER: 30}


@dataclass(frozen=True, slots=True)
class Person:
    """Where the key of a new certificate comes from and how it is kept.

    A `request` (PKCS#10 in PEM) is of a key that stays where it is. Else one is made: under the
    folder's passphrase, or `passphrase`, or none at all if it is `plain`.
    """

    request: bytes | None = None
    passphrase: Callable[[], str] | None = None
    plain: bool = False


def init(folder: Folder, years: int = AUTHORITY_YEARS) -> Register:
    """Make an authority, and an empty revocation list of it.

    Raises:
        PkiInputError: there is one.
        PassphraseError: the passphrase is too short.
    """
    check_strength(folder.passphrase())
    return folder.begin(lambda: Register((new_authority(folder, Stage.ISSUING, years),)))


def issue(
    folder: Folder,
    kind: Kind,
    name: str,
    *,
    addresses: Iterable[str] = (),
    days: int | None = None,
    person: Person = Person(),
) -> Issued:
    """A certificate and its key, in the folder.

    Raises:
        PkiInputError: the name is taken, or something given is none.
    """
    check_name(name)
    lasts = check_days(kind, days)
    given = tuple(dict.fromkeys(map(certificates.check_address, addresses)))

    def step(register: Register) -> Register:
        now = folder.now()
        before = register.latest(name)
        if before and before.holds(now):
            raise PkiInputError(
                f"{name} has a certificate of {before.kind.word} until {before.ends:%Y-%m-%d};"
                f" bedplate pki renew {name} makes a new one, bedplate pki revoke {name} ends it"
            )
        # First what may fail: a wrong passphrase or name leaves no key behind.
        signer = folder.signer(register.issuing())
        wanted = Wanted(kind, name, names_of(kind, name, given), now - BEHIND, now + lasts)
        public = _public_key(folder, register, name, person)
        made = sign(register, signer, wanted, public, addresses=given, filed=True)
        return replace(register, issued=(*register.issued, made))

    return find(folder.change(step), name)


def _public_key(
    folder: Folder, register: Register, name: str, person: Person
) -> CertificatePublicKeyTypes:
    """The key of a new certificate; one of ours is in its file before anything names it."""
    path = folder.key_file(name)
    if person.request is not None:
        public = certificates.read_request(person.request)
        path.unlink(missing_ok=True)  # of a certificate that has ended
        return public
    secret = person.passphrase or folder.passphrase
    if path.exists() and register.latest(name) is None:
        # An interruption's: nothing was ever issued for it. Somebody else's does not open.
        key = folder.read_key(name, secret)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiInputError(f"{path}: there is a key, and none of ours; take it away")
    else:
        key = certificates.new_key()
    passphrase = None if person.plain else secret()
    if passphrase is not None:
        check_strength(passphrase)
    folder.write_key(name, key, passphrase)
    return key.public_key()


def renew(
    folder: Folder, name: str, *, days: int | None = None, if_due: bool = False
) -> tuple[Issued, bool]:
    """A new certificate of the same key, and whether one was made: `if_due` leaves good ones.

    Raises:
        PkiInputError: there is none of that name, it is revoked, or a host's own.
    """
    renewed = False

    def step(register: Register) -> Register:
        nonlocal renewed
        now = folder.now()
        before = find(register, name)
        if before.revoked:
            raise PkiInputError(f"{name} is revoked; bedplate pki issue makes a new certificate")
        if not before.filed:
            raise PkiInputError(
                f"{name} has enrolled and renews its certificate by itself; at once with"
                " bedplate host ADDRESS certificate renew"
            )
        signed_by = register.authority(before.authority)
        if if_due and not before.is_due(now) and signed_by.stage is Stage.ISSUING:
            return register
        lasts = (
            before.ends - before.start - BEHIND if days is None else check_days(before.kind, days)
        )
        names = names_of(before.kind, name, before.addresses)
        wanted = Wanted(before.kind, name, names, now - BEHIND, now + lasts)
        public = certificates.load(before.certificate).public_key()
        signer = folder.signer(register.issuing())
        made = sign(register, signer, wanted, public, addresses=before.addresses, filed=True)
        renewed = True
        return replace(register, issued=(*register.issued, made))

    return find(folder.change(step), name), renewed


def revoke(folder: Folder, what: str, *, days: int = LIST_DAYS) -> tuple[Issued, ...]:
    """End all certificates of a name, with its tokens, or the one of a serial number.

    Raises:
        PkiInputError: there is none that still holds.
    """
    ended: list[Issued] = []

    def step(register: Register) -> Register:
        now = folder.now()
        serial = what.replace(":", "").upper()
        ended.extend(
            each
            for each in register.issued
            if each.holds(now) and (each.name == what or f"{each.serial:X}" == serial.lstrip("0"))
        )
        tokens = tuple(each for each in register.tokens if each.name != what)
        if not ended and tokens == register.tokens:
            raise PkiInputError(f"{what[:80]}: no certificate of that name or serial number holds")
        gone = {each.serial for each in ended}
        issued = tuple(
            replace(each, revoked=now) if each.serial in gone else each for each in register.issued
        )
        return _with_lists(folder, replace(register, issued=issued, tokens=tokens), days)

    folder.change(step)
    return tuple(ended)


def new_lists(folder: Folder, *, days: int = LIST_DAYS) -> Register:
    """Make the revocation lists anew, so that they hold for longer."""
    return folder.change(lambda register: _with_lists(folder, register, days))


# --- Parts ----------------------------------------------------------------------------------------


def check_days(kind: Kind, days: int | None) -> timedelta:
    """How long a certificate of that kind is to hold.

    Raises:
        PkiInputError: too short or too long.
    """
    low, high = _OF_HOSTS if kind is Kind.HOST else _OF_PEOPLE
    found = DAYS[kind] if days is None else days
    if not low <= found <= high:
        raise PkiInputError(f"--days {found}: expected {low} to {high} for a {kind.word}")
    return timedelta(days=found)


def find(register: Register, name: str) -> Issued:
    """The newest certificate of a name.

    Raises:
        PkiInputError: there is none.
    """
    found = register.latest(name)
    if found is None:
        known = ", ".join(each.name for each in register.current()) or "none"
        raise PkiInputError(f"{name[:80]}: no certificate of that name; there are {known}")
    return found


def sign(
    register: Register,
    signer: Signer,
    wanted: Wanted,
    public: CertificatePublicKeyTypes,
    *,
    addresses: tuple[str, ...],
    filed: bool,
) -> Issued:
    """Make a certificate as the register has it."""
    made = certificates.make(signer, wanted, public)
    return Issued(
        name=wanted.name,
        kind=wanted.kind,
        serial=made.serial_number,
        authority=register.issuing().ident,
        start=made.not_valid_before_utc,
        ends=made.not_valid_after_utc,
        addresses=addresses,
        filed=filed,
        certificate=certificates.pem(made),
    )


def names_of(kind: Kind, name: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """What a host is reached by; its name too, where that can be one of the DNS."""
    if kind is not Kind.HOST:
        return ()
    return tuple(dict.fromkeys((certificates.check_address(name), *addresses)))


def new_authority(folder: Folder, stage: Stage, years: int) -> Authority:
    """An authority whose key is in the folder, though the register does not know it yet."""
    now, ident = folder.now(), secrets.token_hex(4)
    ends = now + timedelta(days=365 * years)
    signer = certificates.make_authority(f"Bedplate hosts {ident}", now - BEHIND, ends)
    folder.remember(ident, signer)
    made = Authority(ident, stage, certificates.pem(signer.certificate), "", 0, now, ends)
    return _with_list(folder, made, (), LIST_DAYS)


def _with_lists(folder: Folder, register: Register, days: int) -> Register:
    low, high = _OF_LISTS
    if not low <= days <= high:
        raise PkiInputError(f"--days {days}: expected {low} to {high} for a list")
    found = (
        each if each.stage is Stage.RETIRED else _with_list(folder, each, register.issued, days)
        for each in register.authorities
    )
    return replace(register, authorities=tuple(found))


def _with_list(
    folder: Folder, authority: Authority, issued: Iterable[Issued], days: int
) -> Authority:
    now: datetime = folder.now()
    revoked = [
        (each.serial, each.revoked)
        for each in issued
        # What has ended needs no revocation; a clock that is behind sees to it a little longer.
        if each.revoked
        and each.authority == authority.ident
        and now < each.ends + timedelta(days=2)
    ]
    ends = min(now + timedelta(days=days), authority.ends)
    number = authority.list_number + 1
    made = certificates.make_revocation_list(
        folder.signer(authority), revoked, start=now - BEHIND, end=ends, number=number
    )
    text = certificates.pem(made)
    return replace(authority, revocation_list=text, list_number=number, list_ends=ends)
