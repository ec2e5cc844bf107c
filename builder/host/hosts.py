"""Which hosts are meant where there are many: those of a file, or those with labels, from etcd."""

import ipaddress
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.host.target import Target
from updater.errors import BedplateError, InputError

if TYPE_CHECKING:
    from builder.fleet.listing import HostRow

_MAXIMUM_BYTES = 4 * 1024**2


def of_file(path: Path) -> tuple[Target, ...]:
    """The hosts of a file: `ADDRESS` or `ADDRESS NAME` a line; `#` begins a comment.

    Raises:
        InputError: a line is something else, a host is there twice, or there is none.
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        data = stream.read(_MAXIMUM_BYTES + 1)
    if len(data) > _MAXIMUM_BYTES:
        raise InputError(f"{path}: longer than {_MAXIMUM_BYTES} bytes")
    found: list[Target] = []
    known: set[str] = set()
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), 1):
        if words := line.partition("#")[0].split():
            try:
                found.append(_target(words, known))
            except InputError as error:
                raise InputError(f"{path}:{number}: {error}") from None
    if not found:
        raise InputError(f"{path}: no hosts in it; expected ADDRESS or ADDRESS NAME a line")
    return tuple(found)


def _target(words: Sequence[str], known: set[str]) -> Target:
    """One line's; its name and where it is come to those that are known."""
    if len(words) > 2:
        raise InputError("expected ADDRESS or ADDRESS NAME")
    target = Target.parse(*words)
    # One host under two names would be rebooted twice.
    for each in (target.name, _place(target)):
        if each in known:
            raise InputError(f"{each} is there twice")
        known.add(each)
    return target


def _place(target: Target) -> str:
    """Its URL, the same for each way in which the address may be spelled."""
    address = target.address.lower().rstrip(".")
    with suppress(ValueError):
        address = str(ipaddress.ip_address(address))
    return replace(target, address=address).url


def labels(text: str) -> dict[str, str]:
    """Read "role=web,zone=a".

    Raises:
        InputError: it is something else.
    """
    pairs = [each.partition("=") for each in text.split(",")]
    if not all(name and equals for name, equals, _ in pairs):
        raise InputError(f"--label {text[:80]}: expected KEY=VALUE, or more with commas between")
    return {name: value for name, _, value in pairs}


def of_fleet(wanted: Mapping[str, str], fleet_file: Path | None) -> tuple[Target, ...]:
    """The hosts in etcd that have all of these labels, by their names and first addresses.

    Raises:
        InputError: nothing says where etcd is.
        BedplateError: it does not answer, or no host has the labels.
    """
    # Only here: etcd is of no use where hosts are named.
    from builder.fleet import access, listing  # noqa: PLC0415
    from hostkit.etcd import Client  # noqa: PLC0415
    from podagent.cluster.records import ROOT  # noqa: PLC0415
    from podagent.cluster.view import View  # noqa: PLC0415
    from podagent.manifest import parse  # noqa: PLC0415

    fleet = access.find(access.Given(fleet=fleet_file), os.environ, Path.home(), by_file=True)
    view = View(parse)
    with closing(Client(fleet.access)) as client:
        view.listed(client.list(ROOT))
    return chosen(listing.hosts(view), wanted)


def chosen(rows: "Iterable[HostRow]", wanted: Mapping[str, str]) -> tuple[Target, ...]:
    """The hosts that have all of these labels. Pure.

    Raises:
        BedplateError: there is none, or one has told no address.
    """
    found = []
    for row in rows:
        if wanted.items() <= row.labels.items():
            if not row.addresses:
                raise BedplateError(f"{row.name}: it has told etcd no address; use --hosts FILE")
            found.append(replace(Target.parse(row.addresses[0], row.name), port=row.api_port))
    if not found:
        told = ",".join(f"{name}={value}" for name, value in wanted.items())
        raise BedplateError(f"no host in etcd has the labels {told}: `bedplate fleet get hosts`")
    return tuple(found)
