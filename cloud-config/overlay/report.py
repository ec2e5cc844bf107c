"""What the agent says of itself: a status document, metrics, a line for the console."""

import enum
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

from overlay.places import Places
from updater.files import write_atomic
from updater.metrics import Sample, render_metrics
from updater.strict import render_time

SCHEMA = 1


class State(enum.Enum):
    """Where this host stands."""

    STARTING = "starting"  # no subnet yet
    READY = "ready"
    CUT_OFF = "cut-off"  # etcd is not to be had; traffic goes on until the lease's end
    FAILING = "failing"  # a subnet, but the kernel is not as it should be
    FENCED = "fenced"  # the subnet may be another host's: traffic is stopped


@dataclass(frozen=True, slots=True)
class HeldLease:
    """Our lease. Times are aware, None for a reservation, which has no end.

    `ends` is when etcd gives the subnet to others unless the lease is renewed before; this host
    stops its traffic at `stops`, which is earlier.
    """

    subnets: tuple[str, ...]
    etcd_lease: str
    stops: datetime | None
    ends: datetime | None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another host; `problem` is why no route leads to it, or nothing.

    `ends` (RFC 3339 in UTC) is for the command to find out: the agent follows changes, and does not
    know it.
    """

    subnets: tuple[str, ...]
    public: tuple[str, ...]
    backend: str
    etcd_lease: str
    problem: str = ""
    ends: str | None = None


@dataclass(frozen=True, slots=True)
class OuterInterface:
    """Where packets for peers leave; `public` are the addresses that peers are told."""

    name: str
    mtu: int
    addresses: tuple[str, ...]
    public: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a person or a program wants to know of the overlay.

    `fault` is what is wrong at the moment, in one line, or nothing; `since` (aware) is when state
    or fault last changed. `notices` are what a person should know though nothing is wrong.
    """

    state: State
    fault: str
    since: datetime
    networks: tuple[str, ...] = ()
    backend: str = ""
    mtu: int | None = None
    masquerade: bool = False
    lease: HeldLease | None = None
    outer: OuterInterface | None = None
    peers: tuple[Peer, ...] = ()
    notices: tuple[str, ...] = ()
    kernel_changes: int = 0
    leases_taken: int = 0


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else render_time(moment)


def to_plain(status: Status) -> dict[str, object]:
    """The status as JSON values (schema 1); times are RFC 3339 in UTC."""
    document = {"schema": SCHEMA, **asdict(status)}
    document["state"] = status.state.value
    document["since"] = render_time(status.since)
    if held := status.lease:
        document["lease"] |= {"stops": _time(held.stops), "ends": _time(held.ends)}
    return document


def note(status: Status) -> str:
    """One line for the console."""
    if status.lease is None:
        return f"no subnet: {status.fault or 'asking etcd'}"
    peers = f"{len(status.peers)} peer{'' if len(status.peers) == 1 else 's'}"
    held = f"{' '.join(status.lease.subnets)} ({status.backend}), {peers}"
    found = held if status.state is State.READY else f"{status.state.value}: {held}"
    return f"{found}; {status.fault}" if status.fault else found


def samples(status: Status) -> list[Sample]:
    """The status in numbers."""
    ends = status.lease.ends if status.lease else None
    unrouted = sum(1 for peer in status.peers if peer.problem)
    prefix = "bedplate_overlay"
    return [
        *(
            Sample(
                f"{prefix}_state",
                "1 for the state that the overlay is in.",
                int(status.state is each),
                {"state": each.value},
            )
            for each in State
        ),
        Sample(f"{prefix}_fault", "1 if something is wrong.", int(bool(status.fault))),
        Sample(
            f"{prefix}_lease_end_timestamp_seconds",
            "When the lease ends if it is not renewed; 0 without one, or without an end.",
            ends.timestamp() if ends else 0,
        ),
        Sample(f"{prefix}_leases_taken", "Leases since the agent's start.", status.leases_taken),
        Sample(f"{prefix}_peers", "Other hosts in the network.", len(status.peers)),
        Sample(f"{prefix}_peers_without_route", "Those that no route leads to.", unrouted),
        Sample(f"{prefix}_mtu_bytes", "The MTU of containers.", status.mtu or 0),
        Sample(
            f"{prefix}_kernel_changes",
            "Changes to devices, routes and neighbours since the agent's start.",
            status.kernel_changes,
        ),
    ]


def publish(status: Status, places: Places) -> None:
    """Write status, metrics and the console's line.

    Raises:
        OSError: /run is full.
    """
    # Not indented: with two thousand peers that would cost a slow host a second.
    text = json.dumps(to_plain(status)).encode() + b"\n"
    for path, data in (
        (places.status, text),
        (places.metrics, render_metrics(samples(status))),
        (places.note, note(status).encode()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)


def remove(places: Places) -> None:
    """Take back what was published: this host has no overlay any more."""
    for path in (places.status, places.metrics, places.note):
        path.unlink(missing_ok=True)


# --- For people ---------------------------------------------------------------------------------


def lines(document: dict[str, object]) -> list[str]:
    """A status document, as published, as a table."""
    return [f"{name:<12}{text}".rstrip() for name, text in _rows(document)]


def _rows(document: dict[str, object]) -> Iterable[tuple[str, object]]:
    get = _Reader(document)
    yield "state", f"{get.text('state')} since {get.text('since')}"
    yield "fault", get.text("fault") or "none"
    lease = get.inner("lease")
    yield "subnet", lease.join("subnets") if lease else "none"
    if lease:
        yield "lease ends", lease.text("ends") or "never: it is a reservation"
    yield "network", get.join("networks") or "unknown"
    yield "backend", f"{get.text('backend') or 'unknown'}, MTU {get.text('mtu') or 'unknown'}"
    if outer := get.inner("outer"):
        told = f", peers are told {outer.join('public')}"
        yield "outer", f"{outer.text('name')} {outer.join('addresses')}{told}"
    for text in get.texts("notices"):
        yield "notice", text
    peers = get.inners("peers")
    yield "peers", len(peers)
    for peer in sorted(peers, key=lambda each: each.texts("subnets")):
        ends = f"ends {peer.text('ends')}" if peer.text("ends") else ""
        words = (f"via {peer.join('public')}", peer.text("backend"), ends, peer.text("problem"))
        yield "", "  ".join((f"{peer.join('subnets'):<20}", *filter(None, words)))


@dataclass(frozen=True, slots=True)
class _Reader:
    """JSON values by key; what is not there is empty, as with an agent of another release."""

    values: dict[str, object]

    def text(self, key: str) -> str:
        value = self.values.get(key)
        return "" if value is None else str(value)

    def texts(self, key: str) -> list[str]:
        value = self.values.get(key)
        return list(map(str, value)) if isinstance(value, list) else []

    def join(self, key: str) -> str:
        return " ".join(self.texts(key))

    def inner(self, key: str) -> "_Reader | None":
        value = self.values.get(key)
        return _Reader(value) if isinstance(value, dict) else None

    def inners(self, key: str) -> list["_Reader"]:
        value = self.values.get(key)
        items = value if isinstance(value, list) else []
        return [_Reader(each) for each in items if isinstance(each, dict)]
