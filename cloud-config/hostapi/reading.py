"""What the server reads by itself: the agents' words below /run, in bounded lengths."""

import json
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import overlay.places
import podagent.places
from cloudconfig import places as config_places
from hostapi.contract import SCHEMA
from hostapi.exposition import join
from hostapi.places import Places
from hostapi.refusal import Fault, RefusedError
from updater.console import parse_fib_trie, parse_if_inet6
from updater.host import Paths, parse_os_release
from updater.status import read_health
from updater.strict import render_time

_LONGEST_STATUS = 2 << 20  # bytes; an overlay of 2000 peers has 0.5 MB
_SHORT = 64 << 10  # bytes
_LONGEST_METRICS = 1 << 20  # bytes of one agent's
_MOST_METRICS = 64  # files
_LONGEST_ROUTES = 1 << 20  # bytes of /proc/net/fib_trie
# Why an agent says nothing of a host, by the endpoint's name.
_SILENT = {
    "pods": "no pods are declared for this host, nor is it in a cluster (bedplate.pods and "
    "bedplate.cluster), or their agent has not reported since the boot",
    "overlay": "this host is in no overlay (coreos.flannel), or its agent has not reported since "
    "the boot",
}


def read_bounded(path: Path, longest: int) -> bytes | None:
    """A file; None if it is missing, unreadable, or longer than `longest` bytes."""
    try:
        with path.open("rb") as stream:
            data = stream.read(longest + 1)
    except OSError:
        return None
    return data if len(data) <= longest else None


def _text(path: Path, longest: int = _SHORT) -> str:
    return (read_bounded(path, longest) or b"").decode(errors="replace")


def read_object(path: Path) -> dict[str, Any] | None:
    """A status document; None if there is none, or it is no JSON object."""
    try:
        found = json.loads(read_bounded(path, _LONGEST_STATUS) or b"")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def agents(root: Path) -> dict[str, dict[str, Any] | None]:
    """Each agent's own status, by the agents' names."""
    return {
        "update": read_object(Paths(root).status),
        "config": read_object(config_places.Places(root).status),
        "overlay": read_object(overlay.places.Places(root).status),
        "pods": read_object(podagent.places.Places(root).status),
    }


def agent(root: Path, name: str) -> Mapping[str, object]:
    """The status of one agent.

    Raises:
        RefusedError: this host has none.
    """
    found = agents(root)[name]
    if found is None:
        raise RefusedError(Fault.MISSING, _SILENT[name])
    return {**found, "schema": SCHEMA}


def _booted_at(root: Path) -> str | None:
    """When the kernel started: `btime` of proc_stat(5)."""
    # The line of interrupts before it is long where there are many of them.
    found = re.search("^btime ([0-9]{1,12})$", _text(root / "proc/stat", 1 << 20), re.MULTILINE)
    return found and render_time(datetime.fromtimestamp(int(found[1]), UTC))


def _last_error(found: Mapping[str, Mapping[str, Any] | None]) -> str:
    """The first fault that an agent tells of, in the order of what depends on what."""
    for name, key in (("config", "faults"), ("overlay", "fault"), ("pods", "fault")):
        value = (found[name] or {}).get(key)
        text = value[0] if isinstance(value, list) and value else value
        if text and isinstance(text, str):
            return text
    text = (found["update"] or {}).get("last_error")
    return text if isinstance(text, str) else ""


def status(root: Path) -> dict[str, object]:
    """What runs here and how it is; what cannot be read is null or empty."""
    release = parse_os_release(_text(root / "usr/lib/os-release"))
    found = agents(root)
    update = found["update"] or {}
    health = read_health(Paths(root).health)
    return {
        "schema": SCHEMA,
        "host": {
            "name": socket.gethostname(),
            "image": release.get("IMAGE_ID", ""),
            "version": release.get("IMAGE_VERSION", ""),
            "slot": str(update.get("slot", "unknown")),
            "boot_id": _text(root / "proc/sys/kernel/random/boot_id").strip(),
            "booted_at": _booted_at(root),
            "addresses": [
                *parse_fib_trie(_text(root / "proc/net/fib_trie", _LONGEST_ROUTES)),
                *parse_if_inet6(_text(root / "proc/net/if_inet6")),
            ],
        },
        "health": {"state": health.health.value, "detail": health.detail},
        "agents": found,
        "certificate": _certificate(root),
        "last_error": _last_error(found),
    }


def _certificate(root: Path) -> dict[str, object] | None:
    found = read_object(Places(root).certificate)
    if found is None:
        return None
    return {name: str(found.get(name, "")) for name in ("fingerprint", "not_after", "source")}


def metrics(root: Path) -> str:
    """Every agent's metrics as one text; a file that cannot be read is left out."""
    folder = Places(root).metrics
    found = sorted(folder.glob("[!.]*.prom"))[:_MOST_METRICS]
    return join(_text(path, _LONGEST_METRICS) for path in found)
