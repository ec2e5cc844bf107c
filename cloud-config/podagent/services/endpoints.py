"""Which addresses are behind a workload: those of its ready pods, as their hosts report. Pure.

A report hangs on its host's lease, so what a host that is gone has said is gone as well.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from podagent.cluster.records import Report
from podagent.cluster.view import slot_count
from podagent.phase import Phase
from podagent.types import Manifest

Address = IPv4Address | IPv6Address


def ready_addresses(
    manifests: Iterable[Manifest], reports: Iterable[tuple[str, Report]]
) -> Mapping[str, tuple[Address, ...]]:
    """The addresses of ready pods by workload, in order; one without any is not in it.

    Args:
        manifests: the cluster's.
        reports: each with the name of its pod, such as web-2. Those of other pods are passed over:
            a host's own pod `web` is no replica of the cluster's `web`.
    """
    has_slots = {each.name: slot_count(each) is not None for each in manifests}
    found: dict[str, set[Address]] = {}
    for pod, report in reports:
        workload = pod if report.slot is None else pod.removesuffix(f"-{report.slot}")
        if has_slots.get(workload) is (report.slot is not None):
            found.setdefault(workload, set()).update(_addresses(report))
    return {name: tuple(sorted(found[name], key=_order)) for name in sorted(found) if found[name]}


def _addresses(report: Report) -> Iterable[Address]:
    if not report.ready or report.phase != Phase.RUNNING:
        return
    for each in report.addresses:
        with suppress(ValueError):
            address = ip_address(each)
            # Python takes anything at all for the name of a zone (RFC 4007, section 11).
            if isinstance(address, IPv4Address) or address.scope_id is None:
                yield address


def _order(address: Address) -> tuple[int, int]:
    """Addresses of both families in one order."""
    return address.version, int(address)
