"""What people see of answers: facts and tables, and one line where there are many hosts. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from builder.host.agents import (
    config_facts,
    overlay_facts,
    overlay_line,
    peers,
    pod_facts,
    pods,
    pods_line,
    update_facts,
    update_history,
    update_line,
)
from builder.host.values import Values, block
from builder.report import format_size
from builder.sheets import BAD, BUSY, GOOD, Row, Sheet, facts

# Lines as they are, or a table.
Part = list[str] | Sheet
Page = tuple[Part, ...]

_HEALTH = {"good": GOOD, "failed": BAD}
_EXTENSION = {"merged": "", "refused": BAD, "absent": BUSY}


@dataclass(frozen=True, slots=True)
class View:
    """How an answer is shown: whole, and as one line among many hosts."""

    page: Callable[[Values], Page]
    line: Callable[[Values], str]


def _status(found: Values) -> Page:
    return (facts(_status_facts(found)),)


def _status_facts(found: Values) -> Iterator[tuple[str, str]]:
    host, agents = found.within("host"), found.within("agents")
    yield "host", host.text("name")
    yield "image", f"{host.text('image')} {host.text('version')} (slot {host.text('slot')})"
    yield "booted", f"{host.text('booted_at')} (boot {host.text('boot_id')})"
    yield "addresses", host.join("addresses")
    health = found.within("health")
    yield "health", f"{health.text('state')} {health.text('detail')}".rstrip()
    if update := agents.inner("update"):
        yield "update", update_line(update)
    if config := agents.inner("config"):
        yield "configuration", _config_line(config)
    if overlay := agents.inner("overlay"):
        yield "overlay", overlay_line(overlay)
    if running := agents.inner("pods"):
        yield "pods", pods_line(running)
    yield "certificate", _certificate_line(found.inner("certificate"))
    yield "last error", found.text("last_error")


def _status_line(found: Values) -> str:
    host, agents = found.within("host"), found.within("agents")
    health = found.within("health")
    words = [
        f"{health.text('state')} {health.text('detail')}".strip() or "health unknown",
        f"{host.text('version')} (slot {host.text('slot')})",
        f"update {agents.within('update').text('state') or 'unknown'}",
    ]
    if running := agents.inner("pods"):
        words.append(pods_line(running))
    if error := found.text("last_error"):
        words.append(f"last error: {error}")
    return ", ".join(words)


def _config_line(status: Values) -> str:
    faults = status.texts("faults")
    told = f"{status.text('in_force')} from {status.text('source') or 'nowhere'}"
    return f"{told}; fault: {faults[0]}" if faults else told


def _certificate_line(found: Values | None) -> str:
    if found is None:
        return "none"
    told = f"{found.text('fingerprint')} until {found.text('not_after')}"
    return f"{told} ({found.text('source')})"


def _certificate(found: Values) -> Page:
    own = found.within("certificate")
    names = {"fingerprint": "fingerprint", "not_after": "ends", "source": "source"}
    return (facts((name, own.text(key)) for key, name in names.items()),)


def _boots(found: Values) -> Page:
    rows = tuple(
        Row((str(each.whole("index")), *map(each.text, ("boot_id", "first", "last"))))
        for each in found.inners("boots")
    )
    return (Sheet("Boots", ("index", "boot", "first entry", "last entry"), rows),)


def _timings(found: Values) -> Page:
    steps = ("firmware", "loader", "kernel", "initrd", "userspace", "total")
    units = sorted(
        found.inners("units"), key=lambda each: each.number("seconds") or 0.0, reverse=True
    )
    rows = tuple(Row((_seconds(each.number("seconds")), each.text("unit"))) for each in units)
    return (
        facts((step, _seconds(found.number(step))) for step in steps),
        Sheet("Units, the slowest first", ("time", "unit"), rows),
    )


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}s"


def _trust(found: Values) -> Page:
    rows = tuple(
        Row(
            (
                *map(each.text, ("role", "version", "expires")),
                f"{each.text('threshold')} of {len(keys)}: {', '.join(key[:12] for key in keys)}",
            )
        )
        for each in found.inners("roles")
        for keys in [each.texts("keys")]
    )
    return (Sheet("Roles", ("role", "version", "expires", "keys"), rows),)


def _trust_line(found: Values) -> str:
    return ", ".join(
        f"{each.text('role')} {each.text('version')}" for each in found.inners("roles")
    )


def _extensions(found: Values) -> Page:
    rows = tuple(
        Row(
            tuple(map(each.text, ("name", "version", "state", "source", "reason"))),
            _EXTENSION.get(each.text("state"), ""),
        )
        for each in found.inners("extensions")
    )
    return (Sheet("Extensions", ("name", "version", "state", "source", "reason"), rows),)


def _extensions_line(found: Values) -> str:
    told = [
        " ".join(filter(None, map(each.text, ("name", "version", "state", "reason"))))
        for each in found.inners("extensions")
    ]
    return ", ".join(told) or "no extensions"


def _crashes(found: Values) -> Page:
    rows = tuple(
        Row(
            (
                *map(each.text, ("at", "kind", "name")),
                format_size(each.whole("bytes")),
                *map(each.text, ("program", "pod")),
            )
        )
        for each in found.inners("crashes")
    )
    columns = ("at", "kind", "name", "size", "program", "pod")
    return (Sheet("Crashes that are kept", columns, rows),)


def _update(found: Values) -> Page:
    return (facts(update_facts(found)), update_history(found))


def _config(found: Values) -> Page:
    document = found.of.get("document")
    told = facts(config_facts(found.within("status")))
    if not isinstance(document, str) or not document:
        return (told,)
    return (told, block(document.rstrip("\n")))


def _plan(found: Values) -> Page:
    faults = [f"fault: {each}" for each in found.texts("faults")]
    warnings = [f"warning: {each}" for each in found.texts("warnings")]
    changes = found.texts("changes") or (() if faults else ("nothing to change",))
    return ([*changes, *warnings, *faults],)


def _plan_line(found: Values) -> str:
    if faults := found.texts("faults"):
        return f"fault: {faults[0]}"
    return _count("change")(len(found.texts("changes")))


def _check_line(found: Values) -> str:
    return found.text("reason") or found.text("verdict")


def _stage_line(found: Values) -> str:
    why = found.text("done") or found.text("reason") or found.text("verdict")
    return f"version {found.text('version')} is staged; {why}" if found.holds("staged") else why


def _override(found: Values) -> Page:
    return ([_done(found), "the cloud-config wins again: then, or at once by `override --end`"],)


def _done(found: Values) -> str:
    return found.text("done") or "done"


def _count(word: str) -> Callable[[int], str]:
    return lambda number: f"{number} {word}{'' if number == 1 else 's'}"


def _listed(key: str, word: str) -> Callable[[Values], str]:
    return lambda found: _count(word)(len(found.inners(key)))


def _one_line(line: Callable[[Values], str]) -> View:
    return View(lambda found: ([line(found)],), line)


VIEWS: Mapping[str, View] = {
    "status": View(_status, _status_line),
    "certificate": View(_certificate, lambda found: _certificate_line(found.inner("certificate"))),
    "boots": View(_boots, _listed("boots", "boot")),
    "timings": View(_timings, lambda found: f"booted in {_seconds(found.number('total'))}"),
    "pods": View(lambda found: (pods(found), facts(pod_facts(found))), pods_line),
    "overlay": View(lambda found: (facts(overlay_facts(found)), peers(found)), overlay_line),
    "update": View(_update, lambda found: update_line(found.within("status"))),
    "check": _one_line(_check_line),
    "stage": _one_line(_stage_line),
    "override": View(_override, _done),
    "config": View(_config, lambda found: _config_line(found.within("status"))),
    "config-plan": View(_plan, _plan_line),
    "trust": View(_trust, _trust_line),
    "extensions": View(_extensions, _extensions_line),
    "crashes": View(_crashes, _listed("crashes", "crash")),
    "done": _one_line(_done),
}
