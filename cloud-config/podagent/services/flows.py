"""Datagrams of one sender keep going where its first went: forget those whose replica is gone.

nftables decides once for a connection, and for UDP whatever has one sender and one service is a
connection for as long as packets come. TCP is left alone: a replica that is to end has its grace
period to end its connections, and those of a host that died end by their own time-outs.
Kubernetes' rule (pkg/proxy/conntrack/cleanup.go).
"""

import errno
import socket
from collections.abc import Collection, Mapping
from ipaddress import IPv4Address
from typing import Any

from updater.errors import BedplateError


class FlowsError(BedplateError):
    """The kernel's table of connections cannot be read or changed."""


def forget(ready: Mapping[IPv4Address, Collection[IPv4Address]]) -> int:
    """Drop UDP connections to services that do not lead to a ready replica; how many these were.

    Args:
        ready: addresses of services that have UDP ports, with those of their ready replicas.

    Raises:
        FlowsError: the kernel refuses it.
    """
    if not ready:
        return 0
    # Slow to import, and most hosts have no such service; it ships no types.
    from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped] # noqa: PLC0415
        NetlinkError,
    )
    from pyroute2.netlink.nfnetlink.nfctsocket import (  # type: ignore[import-untyped] # noqa: PLC0415
        NFCTSocket,
    )

    try:
        with NFCTSocket() as kernel:
            stale = [
                flow
                for service, replicas in ready.items()
                for flow in _flows(kernel, service)
                if _destination(flow) not in replicas
            ]
            for flow in stale:
                try:
                    kernel.entry("del", tuple_orig=_original(flow))
                except NetlinkError as error:
                    if error.code != errno.ENOENT:  # it ended by itself
                        raise
    except (NetlinkError, OSError) as error:
        raise FlowsError(f"cannot forget connections to services that changed: {error}") from error
    return len(stale)


def _flows(kernel: Any, service: IPv4Address) -> Any:  # noqa: ANN401 - pyroute2 has no types
    """All UDP connections that were made to a service's address."""
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple  # noqa: PLC0415 - as above

    return kernel.dump(tuple_orig=NFCTAttrTuple(daddr=str(service), proto=socket.IPPROTO_UDP))


def _destination(flow: Any) -> IPv4Address:  # noqa: ANN401 - as above
    """Where a connection leads: who answers it."""
    answer = flow.get_attr("CTA_TUPLE_REPLY").get_attr("CTA_TUPLE_IP")
    return IPv4Address(answer.get_attr("CTA_IP_V4_SRC"))


def _original(flow: Any) -> Any:  # noqa: ANN401 - as above
    from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple  # noqa: PLC0415 - as above

    return NFCTAttrTuple.from_netlink(socket.AF_INET, flow.get_attr("CTA_TUPLE_ORIG"))
