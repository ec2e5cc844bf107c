"""What the overlay costs with 2,000 hosts: etcd, and each of them. It runs in the lab."""

import json
from collections.abc import Mapping
from pathlib import Path

from builder.run import run
from tests.lab import PROJECT, argv, lab_tree

from .figures import Figure, Unit

_PROGRAM = "tests/net/overlay_load.py"


def figures(cache: Path) -> list[Figure]:
    """With the aims of issue 4.

    Raises:
        CommandError: there is no lab, or two hosts had one subnet.
    """
    tree = lab_tree(cache, on_line=lambda _line: None)
    etcd, host = (_part(tree, part) for part in ("etcd", "routes"))
    return [*_of_etcd(etcd), *_of_a_host(host)]


def _part(tree: Path, part: str) -> Mapping[str, float]:
    command = argv(tree, ["/usr/bin/python3", str(PROJECT / _PROGRAM), part])
    found: Mapping[str, float] = json.loads(run(command))
    return found


def _of_etcd(found: Mapping[str, float]) -> list[Figure]:
    rate, cpu = found["renewals_at_rest"], found["renewal_cpu"]
    joins = f"{found['join_failures']:.0f} tries failed; no subnet has two hosts"
    at_rest = f"a keep-alive and one write each, nothing read; {rate * cpu:.2%} of a processor"
    event = "etcd's processor, for each watch that is told of it"
    return [
        Figure("2,000 hosts join at once", found["joins_a_second"], Unit.PER_SECOND, note=joins),
        Figure("transactions a join", found["transactions_a_join"], Unit.COUNT, 1.2),
        Figure("etcd's processor, a join", found["join_cpu"], Unit.SECONDS),
        Figure("2,000 leases renewed", found["renewals_a_second"], Unit.PER_SECOND),
        Figure("etcd's processor, a renewal", cpu, Unit.SECONDS),
        Figure("renewals at rest, 1,000 hosts", rate, Unit.PER_SECOND, note=at_rest),
        Figure("etcd's memory, 2,000 leases", found["resident_bytes"], Unit.BYTES),
        Figure("etcd's memory, a watch", found["watch_bytes"], Unit.BYTES),
        Figure("a change of a lease", found["event_cpu"], Unit.SECONDS, note=event),
    ]


def _of_a_host(found: Mapping[str, float]) -> list[Figure]:
    look = "every 10 s, and when the kernel tells of something"
    return [
        Figure("routes to 2,000 peers", found["all_seconds"], Unit.SECONDS, 3),
        Figure("routes to 2,000 peers: peak", found["peak"], Unit.BYTES, 120 << 20),
        Figure("one of 2,000 peers changes", found["one_seconds"], Unit.SECONDS, 0.01),
        Figure("all of 2,000 peers planned", found["whole_seconds"], Unit.SECONDS),
        Figure("all of 2,000 peers looked at", found["look_seconds"], Unit.SECONDS, note=look),
    ]
