"""`users`, `groups` and `ssh_authorized_keys`: lines of passwd(5) and group(5)."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

from cloudconfig.desired import Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.model.users import User
from cloudconfig.render.errors import RenderError
from hostkit.document.schema import Fault

_PASSWD = PurePosixPath("/etc/passwd")
_GROUP = PurePosixPath("/etc/group")
_KEYS = PurePosixPath("/etc/ssh/authorized_keys.d")
_NOGROUP, _NOGROUP_NUMBER = "nogroup", 65534
_LOWEST, _HIGHEST = 500, 999  # the system's own numbers, the first not counted


def render(config: CloudConfig, facts: Facts) -> Desired:
    """Accounts after those that are there already, and the keys of the developer extension.

    Raises:
        RenderError: a name or a number is somebody else's already, or a group is not known.
    """
    users = [user for user in config.users if isinstance(user, User)]
    items: list[File] = []
    if users or config.groups:
        groups = _members(config)
        if faults := [*_faults(config, groups, facts)]:
            raise RenderError(*faults)
        passwd, group = _accounts(users, groups, facts)
        items += [File(_PASSWD, passwd.encode()), File(_GROUP, group.encode())]
    keys = {"root": [*facts.public_keys, *config.ssh_authorized_keys]}
    for user in users:
        keys.setdefault(user.name, []).extend(user.ssh_authorized_keys)
    for name, lines in keys.items():
        if lines:
            text = "".join(f"{line}\n" for line in dict.fromkeys(lines))
            items.append(File(_KEYS / name, text.encode(), mode=0o600))
    return Desired(items=tuple(items))


def _members(config: CloudConfig) -> dict[str, list[str]]:
    """The groups that the document asks for, with who is in them."""
    groups: dict[str, list[str]] = {}
    for entry in config.groups:
        if isinstance(entry, str):
            groups.setdefault(entry, [])
        else:
            for name, members in entry.items():
                groups.setdefault(name, []).extend(members)
    for user in (user for user in config.users if isinstance(user, User)):
        if not user.primary_group and not user.no_user_group:
            groups.setdefault(user.name, [])
        for name in _further(user):
            groups.setdefault(name, []).append(user.name)
    return groups


def _faults(config: CloudConfig, groups: Mapping[str, object], facts: Facts) -> Iterator[Fault]:
    image_users, image_groups = _numbers(facts.passwd), _image_groups(facts)
    for at, user in enumerate(config.users):
        if not isinstance(user, User):
            continue
        what, path = f"users: {user.name}", ("users", at)
        if user.name in image_users:
            yield Fault(f"{what}: the image has a user of that name", (*path, "name"))
        if user.uid in image_users.values():
            yield Fault(f"{what}: the number {user.uid} is taken already", (*path, "uid"))
        if (group := _first_group(user)) not in {*groups, *image_groups}:
            message = f"{what}: there is no group {group}; add it to groups"
            yield Fault(message, (*path, "primary_group"))


def _accounts(users: Sequence[User], groups: dict[str, list[str]], facts: Facts) -> tuple[str, str]:
    """Whole texts of passwd and group."""
    image_users, image_groups = _numbers(facts.passwd), _image_groups(facts)
    given = {user.name: user.uid for user in users if user.uid is not None}
    numbers = image_groups | {name: uid for name, uid in given.items() if name in groups}
    taken = {*image_users.values(), *image_groups.values(), *given.values()}
    ids = dict(given)
    for name in sorted({*groups, *(user.name for user in users)}):
        number = numbers.get(name) if name in groups else ids.get(name)
        if number is None:
            number = _free(name, taken)
        taken.add(number)
        if name in groups:
            numbers.setdefault(name, number)
        ids.setdefault(name, number)
    passwd = "".join(_passwd_line(user, ids[user.name], numbers) for user in users)
    return facts.passwd + passwd, _group_text(facts.group, groups, numbers, image_groups)


def _passwd_line(user: User, number: int, groups: Mapping[str, int]) -> str:
    group = _first_group(user)
    # Both are there with the developer extension alone; `*` is a password that nothing matches.
    shell = "/usr/bin/sh" if user.ssh_authorized_keys else "/usr/sbin/nologin"
    names = f"{user.gecos}:{user.homedir}:{shell}"
    return f"{user.name}:*:{number}:{groups[group]}:{names}\n"


def _group_text(
    before: str,
    groups: Mapping[str, list[str]],
    numbers: Mapping[str, int],
    known: Mapping[str, int],
) -> str:
    lines = []
    for line in before.splitlines():
        fields = line.split(":")
        if len(fields) == 4 and groups.get(fields[0]):
            members = [*filter(None, fields[3].split(",")), *groups[fields[0]]]
            fields[3] = ",".join(dict.fromkeys(members))
        lines.append(":".join(fields))
    lines += [
        f"{name}:*:{numbers[name]}:{','.join(dict.fromkeys(members))}"
        for name, members in groups.items()
        if name not in known
    ]
    return "".join(f"{line}\n" for line in lines)


def _first_group(user: User) -> str:
    return user.primary_group or (_NOGROUP if user.no_user_group else user.name)


def _image_groups(facts: Facts) -> dict[str, int]:
    # Where nothing is known of the image, this one of Debian's is.
    return {_NOGROUP: _NOGROUP_NUMBER} | _numbers(facts.group)


def _further(user: User) -> tuple[str, ...]:
    return (user.groups,) if isinstance(user.groups, str) else user.groups


def _numbers(text: str) -> dict[str, int]:
    """Names and numbers of passwd(5) or group(5)."""
    rows = [line.split(":") for line in text.splitlines()]
    return {row[0]: int(row[2]) for row in rows if len(row) > 3 and row[2].isdecimal()}


def _free(name: str, taken: AbstractSet[int]) -> int:
    """A number of the system's own that follows from the name, so that files in /var keep it."""
    count = _HIGHEST - _LOWEST
    first = zlib.crc32(name.encode()) % count
    for step in range(count):
        number = _LOWEST + 1 + (first + step) % count
        if number not in taken:
            return number
    message = f"users: no number from {_LOWEST + 1} to {_HIGHEST} is free"
    raise RenderError(Fault(message, ("users",)))
