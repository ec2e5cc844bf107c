"""Rows for people."""

from collections.abc import Iterable, Sequence

from builder.fleet.listing import (
    HostLeaseRow,
    HostRow,
    PodRow,
    ServiceRow,
    SubnetRow,
    WorkloadRow,
)
from builder.sheets import BAD, BUSY, GOOD, Row, Sheet

SHORT = 48  # characters of a cell that may be long, without --wide
_PROGRESS = {"complete": GOOD, "progressing": BUSY, "halted": BAD, "refused": BAD}


def hosts(rows: Iterable[HostRow], *, wide: bool) -> Sheet:
    """Hosts; wide: their labels too."""
    return Sheet(
        "Hosts",
        (
            *("host", "accepts", "ready", "pods", "version", "addresses"),
            *(("labels",) if wide else ()),
            "why",
        ),
        tuple(
            Row(
                (
                    each.name,
                    _yes(each.accepts),
                    str(each.ready),
                    str(each.pods),
                    each.version,
                    _list(each.addresses, wide=wide),
                    *((_pairs(each.labels.items()),) if wide else ()),
                    _long(each.why, wide=wide),
                ),
                "" if each.accepts else BUSY,
            )
            for each in rows
        ),
    )


def workloads(rows: Iterable[WorkloadRow], *, wide: bool) -> Sheet:
    """Workloads; wide: the whole of why."""
    return Sheet(
        "Workloads",
        ("workload", "kind", "replicas", "held", "updated", "ready", "progress", "why"),
        tuple(
            Row(
                (
                    each.name,
                    each.kind,
                    *map(str, (each.replicas, each.held, each.updated, each.ready)),
                    each.progress,
                    _long(each.why, wide=wide),
                ),
                _PROGRESS[each.progress],
            )
            for each in rows
        ),
    )


def _pod_style(pod: PodRow) -> str:
    if pod.ready or pod.phase == "Succeeded":
        return ""
    return BAD if pod.phase == "Refused" else BUSY


def pods(rows: Iterable[PodRow], *, wide: bool) -> Sheet:
    """Pods; wide: digests of manifest and images too."""
    return Sheet(
        "Pods",
        (
            *("host", "pod", "phase", "ready", "restarts", "addresses"),
            *(("digest", "images") if wide else ()),
            "reason",
        ),
        tuple(
            Row(
                (
                    each.host,
                    each.pod,
                    each.phase,
                    _yes(each.ready),
                    str(each.restarts),
                    _list(each.addresses, wide=wide),
                    *((each.digest, _pairs(each.images.items())) if wide else ()),
                    _long(each.reason, wide=wide),
                ),
                _pod_style(each),
            )
            for each in rows
        ),
    )


def services(rows: Iterable[ServiceRow], *, wide: bool) -> Sheet:
    """Names, and what answers to them."""
    return Sheet(
        "Services",
        ("name", "service", "address", "ports", "ready"),
        tuple(
            Row(
                (
                    each.name,
                    each.service,
                    each.address,
                    ",".join(each.ports),
                    _list(each.ready, wide=wide),
                ),
                "" if each.ready else BUSY,
            )
            for each in rows
        ),
    )


def subnets(rows: Iterable[SubnetRow], *, wide: bool) -> Sheet:
    """The overlay's leases; wide: etcd's ids too."""
    return Sheet(
        "Subnets of the overlay",
        (
            *("subnet", "public", "host", "backend", "left"),
            *(("lease",) if wide else ()),
            "problem",
        ),
        tuple(
            Row(
                (
                    ",".join(each.subnets),
                    each.public_ip,
                    each.host,
                    each.backend,
                    "reserved" if each.seconds is None else _left(each.seconds),
                    *((each.lease,) if wide else ()),
                    _long(each.problem, wide=wide),
                ),
                BAD if each.problem else "",
            )
            for each in rows
        ),
    )


def host_leases(rows: Iterable[HostLeaseRow], *, wide: bool) -> Sheet:
    """The hosts' leases; wide: etcd's ids too."""
    return Sheet(
        "Leases of hosts",
        ("host", "left", "slots", "reports", *(("lease",) if wide else ())),
        tuple(
            Row(
                (
                    *(each.host, _left(each.seconds), str(each.slots), str(each.reports)),
                    *((each.lease,) if wide else ()),
                )
            )
            for each in rows
        ),
    )


def _long(text: str, *, wide: bool) -> str:
    return text if wide or len(text) <= SHORT else text[: SHORT - 3] + "..."


def _list(texts: Sequence[str], *, wide: bool) -> str:
    """Some of several, and how many more there are."""
    if wide or len(texts) <= 2:
        return ",".join(texts)
    return f"{','.join(texts[:2])},+{len(texts) - 2}"


def _pairs(items: Iterable[tuple[str, str]]) -> str:
    return ",".join(f"{name}={value}" for name, value in items)


def _yes(value: bool) -> str:  # noqa: FBT001 - it is what is shown
    return "yes" if value else "no"


def _left(seconds: int) -> str:
    """How long a lease has left: "23h", "54min", "27s"; etcd says -1 of one that has ended."""
    if seconds < 0:
        return "ended"
    for size, unit in ((2 * 3600, "h"), (2 * 60, "min")):
        if seconds >= size:
            return f"{seconds // (size // 2)}{unit}"
    return f"{seconds}s"
