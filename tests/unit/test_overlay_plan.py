"""Plans against a model of Linux that knows nothing of the planner."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlay.links import (
    Address,
    Device,
    Entry,
    Forward,
    Neighbour,
    Route,
    State,
    VxlanLink,
    WireguardLink,
    WireguardPeer,
    is_ours,
)
from overlay.plan import (
    AddDevice,
    Change,
    Put,
    Remove,
    RemoveDevice,
    SetDevice,
    after,
    describe,
    make_plan,
)

_VXLAN = VxlanLink(1, 8472, "192.168.1.1", 2)
_DEVICE = Device("flannel.1", 1450, _VXLAN, "02:00:00:00:00:01")
_TUNNEL = Device("flannel-wg", 1420, WireguardLink(51820, "private"))


class Linux:
    """What the kernel does with each change, in its own terms."""

    def __init__(self, state: State) -> None:
        self.devices = {device.name: device for device in state.devices}
        self.entries = set(state.entries)

    def make(self, change: Change) -> None:
        if isinstance(change, AddDevice):
            assert change.device.name not in self.devices, "EEXIST"
            self.devices[change.device.name] = change.device
        elif isinstance(change, SetDevice):
            was, device = self.devices[change.device.name], change.device
            assert type(was.link) is type(device.link)
            if isinstance(was.link, VxlanLink):
                assert (was.link, was.mac) == (device.link, device.mac), "EOPNOTSUPP"
            self.devices[device.name] = device
        elif isinstance(change, RemoveDevice):
            del self.devices[change.device.name]
            self.drop(lambda entry: entry.device == change.device.name)
        elif isinstance(change, Put):
            self.put(change.entry)
        else:
            self.remove(change.entry)

    def drop(self, test: "object") -> None:
        assert callable(test)
        self.entries = {entry for entry in self.entries if not test(entry)}

    def put(self, entry: Entry) -> None:
        assert is_ours(entry.device) <= (entry.device in self.devices), "ENODEV"
        if isinstance(entry, Route) and entry.onlink:
            neighbours = {each.address for each in self.entries if isinstance(each, Neighbour)}
            assert entry.gateway in neighbours, "the kernel would ask the wire"
        same = [other for other in self.entries if other.key == entry.key]
        if same and entry not in same:
            # Whichever comes first: others of the key stay.
            self.entries.remove(min(same, key=str))
        self.entries.add(entry)

    def remove(self, entry: Entry) -> None:
        self.entries.discard(entry)
        addresses = {each.device for each in self.entries if isinstance(each, Address)}
        if isinstance(entry, Address) and entry.device not in addresses:
            # The last address: fib_disable_ip() and arp_ifdown().
            self.drop(
                lambda other: other.device == entry.device and isinstance(other, Route | Neighbour)
            )

    def state(self) -> State:
        return State(frozenset(self.devices.values()), frozenset(self.entries))


_OUTER = "eth0"
_MACS = ("02:00:00:00:00:02", "02:00:00:00:00:03")
_HOSTS = ("192.168.1.2", "192.168.1.3", "192.168.1.4")
_NUMBERS = st.integers(1, 2)
_MOSTLY = st.sampled_from((True, True, True, False))


@st.composite
def devices(draw: st.DrawFn, *, wanted: bool) -> list[Device]:
    found = []
    for base in (_DEVICE, _TUNNEL):
        if draw(_MOSTLY):
            device = replace(base, mtu=draw(st.sampled_from((1400, 1450))))
            if isinstance(device.link, VxlanLink):
                link = replace(device.link, port=draw(st.sampled_from((8472, 4789))))
                device = replace(device, link=link, mac=draw(st.sampled_from(_MACS)))
            if not wanted:
                device = replace(device, up=draw(st.booleans()))
                device = device if draw(st.booleans()) else replace(device, link=None)
            found.append(device)
    return found


def entries_of(draw: st.DrawFn, device: str) -> list[Entry]:
    number = draw(_NUMBERS)
    gateway = f"10.5.{number}.0"
    if device == _OUTER:
        return [Route(device, f"{gateway}/24", draw(st.sampled_from(_HOSTS)))]
    if device == _TUNNEL.name:
        endpoint = draw(st.sampled_from(_HOSTS))
        return [WireguardPeer(device, f"key{number}", (endpoint, 51820), (f"{gateway}/24",))]
    mac = draw(st.sampled_from(_MACS))
    return [
        Neighbour(device, gateway, mac),
        Forward(device, mac, draw(st.sampled_from(_HOSTS))),
        Route(device, f"{gateway}/24", gateway, onlink=True),
    ]


@st.composite
def wanted_states(draw: st.DrawFn) -> State:
    """One device of a name, one entry of a key, each device with an address."""
    found = draw(devices(wanted=True))
    entries: dict[object, Entry] = {}
    for device in [each.name for each in found] + [_OUTER]:
        if device != _OUTER:
            own = Address(device, f"10.5.{draw(_NUMBERS)}.0", 32)
            entries[own.key] = own
        for _ in range(draw(st.sampled_from((2, 1, 3, 0)))):
            for entry in entries_of(draw, device):
                if not isinstance(entry, Route) or entry.key not in entries:
                    entries[entry.key] = entry
    return State(frozenset(found), frozenset(entries.values()))


@st.composite
def observed_states(draw: st.DrawFn) -> State:
    """Anything, with foreign entries, several of a key, and routes of no sense."""
    found = draw(devices(wanted=False))
    entries: set[Entry] = set()
    for device in [each.name for each in found] + [_OUTER]:
        for _ in range(draw(st.sampled_from((2, 4, 1, 0)))):
            entries.update(entries_of(draw, device))
        if device != _OUTER:
            for number in draw(st.lists(_NUMBERS, max_size=2)):
                entries.add(Address(device, f"10.5.{number}.0", draw(st.sampled_from((24, 32)))))
            entries.add(Route(device, "10.77.0.0/16", protocol=4))
    return State(frozenset(found), frozenset(entries))


@st.composite
def damaged(draw: st.DrawFn, desired: State, foreign: State) -> State:
    """Some of what is wanted, and much else."""
    names = {device.name: device for device in foreign.devices}
    names.update({device.name: device for device in desired.devices if draw(_MOSTLY)})
    entries = [
        entry
        for entry in sorted(desired.entries | foreign.entries, key=str)
        if (entry.device == _OUTER or entry.device in names) and draw(_MOSTLY)
    ]
    return State(frozenset(names.values()), frozenset(entries))


@given(st.data(), wanted_states(), observed_states())
def test_a_plan_leads_to_what_is_wanted(
    data: st.DataObject, desired: State, foreign: State
) -> None:
    observed = data.draw(damaged(desired, foreign))
    linux = Linux(observed)
    changes = make_plan(desired, observed)
    for change in changes:
        linux.make(change)
    assert linux.state() == desired
    assert after(observed, changes) == desired
    assert make_plan(desired, linux.state()) == ()


@given(wanted_states())
def test_nothing_is_done_to_what_is_as_it_should_be(desired: State) -> None:
    assert make_plan(desired, desired) == ()
    assert after(desired, ()) == desired


def test_an_entry_takes_the_place_of_one_that_the_plan_did_not_know_of() -> None:
    mac = "02:00:00:00:00:01"
    there, new = Forward("flannel.1", mac, "10.0.0.1"), Forward("flannel.1", mac, "10.0.0.2")
    observed = State(frozenset(), frozenset((there,)))
    assert after(observed, (Put(new),)).entries == {new}


@given(observed_states())
def test_to_want_nothing_takes_everything_back(observed: State) -> None:
    linux = Linux(observed)
    for change in make_plan(State(), observed):
        assert isinstance(change, Remove | RemoveDevice)
        linux.make(change)
    assert linux.state() == State()


def state(*entries: Entry, device: Device = _DEVICE) -> State:
    return State(frozenset((device,)), frozenset(entries))


_ROUTE = Route("flannel.1", "10.5.2.0/24", "10.5.2.0", onlink=True)


@pytest.mark.parametrize(
    "changed",
    [
        replace(_DEVICE, mac="02:00:00:00:00:09"),
        replace(_DEVICE, link=replace(_VXLAN, vni=2)),
        replace(_DEVICE, link=replace(_VXLAN, local="192.168.1.9")),
        replace(_DEVICE, link=replace(_VXLAN, port=4789)),
        replace(_DEVICE, link=replace(_VXLAN, learning=True)),
        replace(_DEVICE, link=replace(_VXLAN, outer=7)),
        replace(_DEVICE, link=None),
    ],
    ids=str,
)
def test_a_device_that_cannot_be_changed_is_remade_with_all_on_it(changed: Device) -> None:
    observed = state(_ROUTE, device=changed)
    assert make_plan(state(_ROUTE), observed) == (
        RemoveDevice(changed),
        AddDevice(_DEVICE),
        Put(_ROUTE),
    )


@pytest.mark.parametrize(
    ("device", "was"),
    [
        (_DEVICE, replace(_DEVICE, mtu=1400)),
        (_DEVICE, replace(_DEVICE, up=False)),
        (_TUNNEL, replace(_TUNNEL, link=WireguardLink(51820, "other"))),
        (_TUNNEL, replace(_TUNNEL, link=WireguardLink(1, "private"))),
    ],
    ids=str,
)
def test_a_device_is_changed_in_use_where_that_is_possible(device: Device, was: Device) -> None:
    assert make_plan(state(device=device), state(device=was)) == (SetDevice(device, was),)


def test_an_entry_is_replaced_without_a_moment_in_between() -> None:
    direct = Route("eth0", "10.5.2.0/24", "192.168.1.2")
    assert make_plan(state(direct), state(_ROUTE)) == (Put(direct, _ROUTE),)


def test_a_new_address_comes_before_the_old_one_goes() -> None:
    old, new = Address("flannel.1", "10.5.1.0", 32), Address("flannel.1", "10.5.9.0", 32)
    assert make_plan(state(new), state(old)) == (Put(new), Remove(old))


def test_what_is_told_of_a_change_holds_no_key() -> None:
    peer = WireguardPeer("flannel-wg", "public", None, (), "secret")
    texts = [describe(Put(peer)), repr(peer), describe(AddDevice(_TUNNEL)), repr(_TUNNEL)]
    assert texts[0] == "put peer public dev flannel-wg"
    assert not any("secret" in text or "private'" in text for text in texts)


@pytest.mark.parametrize("name", ["flannel.1", "flannel-v6.77", "flannel-wg", "flannel-wg-v6"])
def test_our_devices_are_known_by_their_names(name: str) -> None:
    assert is_ours(name)
    assert not is_ours(f"{name}x")
    assert not is_ours(f"x{name}")
