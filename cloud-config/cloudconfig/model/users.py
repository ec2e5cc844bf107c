"""`users` and `groups`: accounts that services run as; nobody logs in."""

from collections.abc import Iterator
from dataclasses import dataclass

from cloudconfig.kinds import ACCOUNT, BOOLEAN, Either, Integer
from hostkit.document.kinds import Text
from hostkit.document.schema import Fault, ListOf, MapOf, Section, key

_NO_LOGIN = "this host has no login; it is an account for services"
_NO_KEYS = "give keys as ssh_authorized_keys, for the developer extension"

SSH_KEY = Text(
    "a public SSH key such as `ssh-ed25519 AAAA... name`",
    r"[a-z0-9@.\-]+ [A-Za-z0-9+/=]+( [^\n]*)?",
    limit=8192,
    secret=True,  # people have been known to paste the other half
)


@dataclass(frozen=True, slots=True)
class User:
    """An account without password, shell or home that is made at boot."""

    name: str = key(ACCOUNT, "Its name.")
    uid: int | None = key(
        Integer(1, 59999), "Its number; else the next free one from 900 down.", default=None
    )
    gecos: str = key(Text("a name without colons", r"[^:\n\0]*"), "What it is for.", default="")
    homedir: str = key(
        Text("an absolute path", r"/[^:\n\0]*"), "Its home; nobody makes it.", default="/"
    )
    primary_group: str | None = key(
        ACCOUNT, "Its group; else one of its own name is made.", default=None
    )
    groups: tuple[str, ...] = key(
        Either(scalar=ACCOUNT, sequence=ListOf(ACCOUNT)), "Further groups.", default=()
    )
    ssh_authorized_keys: tuple[str, ...] = key(
        ListOf(SSH_KEY), "Keys with which the developer extension lets in.", default=()
    )
    no_create_home: bool = key(BOOLEAN, "Homes are not made in any case.", default=True)
    no_user_group: bool = key(BOOLEAN, "Make no group of its name.", default=False)
    system: bool = key(BOOLEAN, "All accounts here are of the system.", default=True)
    no_log_init: bool = key(BOOLEAN, "Logins are not logged, as there are none.", default=True)


# What an account would be if not for these, and here is in any case.
_ALWAYS = {
    "no_create_home": "nobody makes a home; write_files or a unit's StateDirectory= does",
    "system": "all accounts here are of the system, and nobody logs in",
    "no_log_init": "there are no logins to log",
}


def _cautions(user: User) -> Iterator[Fault]:
    for name, why in _ALWAYS.items():
        if not getattr(user, name):
            yield Fault(f"{user.name}: {name}: false does nothing here: {why}", (name,))


USER = Section(
    User,
    cautions=_cautions,
    refused={
        "coreos_ssh_import_github": _NO_KEYS,
        "coreos_ssh_import_github_users": _NO_KEYS,
        "coreos_ssh_import_url": _NO_KEYS,
        "ssh_import_id": _NO_KEYS,
        "sudo": "this host has no sudo; give a unit what it needs with AmbientCapabilities=",
        "doas": "this host has no doas; give a unit what it needs with AmbientCapabilities=",
    },
    ignored={
        "passwd": _NO_LOGIN,
        "hashed_passwd": _NO_LOGIN,
        "plain_text_passwd": _NO_LOGIN,
        "lock_passwd": _NO_LOGIN,
        "shell": _NO_LOGIN,
        "inactive": _NO_LOGIN,
        "expiredate": _NO_LOGIN,
    },
)


def _doubles(users: tuple[User | str, ...]) -> Iterator[Fault]:
    seen = set()
    for at, user in enumerate(users):
        if isinstance(user, User):
            if user.name in seen:
                yield Fault(f"'{user.name}' stands twice in this list", (at, "name"))
            seen.add(user.name)


USERS = ListOf(Either(scalar=Text("default", "default"), mapping=USER), problems=_doubles)
GROUPS = ListOf(Either(scalar=ACCOUNT, mapping=MapOf(r"[a-z_][a-z0-9_\-]{0,30}", ListOf(ACCOUNT))))
