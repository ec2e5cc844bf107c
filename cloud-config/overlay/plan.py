"""Desired and observed kernel state -> changes in order. Pure: nothing is read, nothing is done."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from overlay.links import (
    Address,
    Device,
    Entry,
    Forward,
    Neighbour,
    Route,
    State,
    VxlanLink,
    WireguardPeer,
)

# A route comes after what its gateway is found by, or the kernel would ask the wire for it.
_ORDER = {Address: 0, Neighbour: 1, Forward: 2, WireguardPeer: 3, Route: 4}


@dataclass(frozen=True, slots=True)
class AddDevice:
    """Make a device that is not there."""

    device: Device


@dataclass(frozen=True, slots=True)
class SetDevice:
    """Give a device its attributes; only those change that can on a device in use."""

    device: Device
    was: Device


@dataclass(frozen=True, slots=True)
class RemoveDevice:
    """Take a device away, and with it everything on it."""

    device: Device


@dataclass(frozen=True, slots=True)
class Put:
    """Add an entry, or let it take the place of `was`, which has its key."""

    entry: Entry
    was: Entry | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an entry away."""

    entry: Entry


Change = AddDevice | SetDevice | RemoveDevice | Put | Remove


def make_plan(desired: State, observed: State) -> tuple[Change, ...]:
    """What has to be done, in this order; nothing if all is as it should be.

    The empty state is a desire like any other: it takes back all that is ours.
    """
    devices, gone = _devices(desired.devices, observed.devices)
    there = observed.entries
    if gone:
        there = frozenset(entry for entry in there if entry.device not in gone)
    missing = sorted(desired.entries - there, key=_rank)
    surplus = there - desired.entries
    # One that is alone with its key is replaced in place: there is no moment without it.
    alone = Counter(entry.key for entry in surplus)
    keys = {entry.key for entry in missing}
    was = {each.key: each for each in surplus if each.key in keys and alone[each.key] == 1}
    removed = [entry for entry in surplus if entry.key not in was]
    removed.sort(key=_rank, reverse=True)
    return (
        *(Remove(entry) for entry in removed if not isinstance(entry, Address)),
        *devices,
        *(Put(entry) for entry in missing if isinstance(entry, Address)),
        # After its successor: with the last address, Linux drops all routes and neighbours too.
        *(Remove(entry) for entry in removed if isinstance(entry, Address)),
        *(Put(each, was.get(each.key)) for each in missing if not isinstance(each, Address)),
    )


def after(observed: State, changes: Sequence[Change]) -> State:
    """What the kernel holds when these changes were made to `observed`, without asking it."""
    devices = {device.name: device for device in observed.devices}
    # Whether or not the plan knew of them.
    replaced = {change.entry.key for change in changes if isinstance(change, Put)}
    entries = set(observed.entries)
    if replaced:
        entries = {entry for entry in entries if entry.key not in replaced}
    for change in changes:
        if isinstance(change, AddDevice | SetDevice):
            devices[change.device.name] = change.device
        elif isinstance(change, RemoveDevice):
            devices.pop(change.device.name, None)
            entries = {each for each in entries if each.device != change.device.name}
        elif isinstance(change, Remove):
            entries.discard(change.entry)
        else:
            entries.add(change.entry)
    return State(frozenset(devices.values()), frozenset(entries))


def describe(change: Change) -> str:
    """A change for people and logs; no key is in it."""
    if isinstance(change, AddDevice):
        return f"add device {change.device.name}"
    if isinstance(change, SetDevice):
        return f"set device {change.device.name}"
    if isinstance(change, RemoveDevice):
        return f"remove device {change.device.name}"
    return f"{'put' if isinstance(change, Put) else 'remove'} {change.entry}"


def _rank(entry: Entry) -> int:
    return _ORDER[type(entry)]


def _devices(
    desired: frozenset[Device], observed: frozenset[Device]
) -> tuple[list[Change], frozenset[str]]:
    """The changes of devices, and the names of those that are taken away, if only to be remade."""
    there = {device.name: device for device in observed}
    wanted = {device.name: device for device in desired}
    changes: list[Change] = []
    gone = set()
    for name, was in sorted(there.items()):
        if name not in wanted or not _can_become(was, wanted[name]):
            changes.append(RemoveDevice(was))
            gone.add(name)
    for name, device in sorted(wanted.items()):
        if name not in there or name in gone:
            changes.append(AddDevice(device))
        elif there[name] != device:
            changes.append(SetDevice(device, there[name]))
    return changes, frozenset(gone)


def _can_become(was: Device, device: Device) -> bool:
    """Whether a device can be changed into another while it is in use.

    A VXLAN device's tunnel cannot; its MAC could, but Linux then forgets all its neighbours.
    """
    if was.link is None or type(was.link) is not type(device.link):
        return False
    if isinstance(device.link, VxlanLink):
        return was.link == device.link and was.mac == device.mac
    return True
