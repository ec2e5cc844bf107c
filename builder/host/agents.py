"""The agents' own status documents, as people read them. Pure."""

from collections.abc import Iterator

from builder.host.values import Values
from builder.report import format_size
from builder.sheets import BAD, BUSY, Row, Sheet

Facts = Iterator[tuple[str, str]]

# --- The update ---------------------------------------------------------------------------------


def update_line(status: Values) -> str:
    """Where the update stands, and why."""
    told = status.text("state") or "unknown"
    if pending := status.text("pending"):
        told += f": version {pending}"
    why = status.text("last_error") or status.text("decision")
    return f"{told}; {why}" if why else told


def update_facts(found: Values) -> Facts:
    """The update, from the answer of `update`."""
    status = found.within("status")
    yield "version", f"{status.text('version')} (slot {status.text('slot')})"
    yield "channel", f"{status.text('channel')} at {status.text('server')}"
    yield "strategy", status.text("strategy")
    if override := found.inner("override"):
        changed = ", ".join(
            f"{key} {override.text(key)}" for key in ("channel", "strategy") if override.text(key)
        )
        yield "override", f"{changed}: until the next boot, then the cloud-config wins again"
    pending = status.text("pending")
    yield "update", status.text("state") + (f": version {pending}" if pending else "")
    yield "decision", status.text("decision") or "none yet"
    if step := status.inner("progress"):
        yield "progress", progress(step)
    yield "last check", status.text("last_check") or "never"
    yield "last error", status.text("last_error")
    yield "health", f"{status.text('health')} {status.text('health_detail')}".rstrip()
    for each in status.inners("rejected"):
        yield "rejected", f"{each.text('version')}: {each.text('reason')} ({each.text('at')})"


def update_history(found: Values) -> Sheet:
    """What has happened, from the answer of `update`."""
    rows = tuple(
        Row(tuple(map(each.text, ("at", "kind", "version", "detail"))))
        for each in found.inners("history")
    )
    return Sheet("History", ("at", "what", "version", "detail"), rows)


def progress(step: Values) -> str:
    """How far a step of staging is."""
    done, total = step.whole("done"), step.whole("total")
    return f"{step.text('step')}: {format_size(done)} of {format_size(total)}"


# --- The configuration --------------------------------------------------------------------------


def config_facts(status: Values) -> Facts:
    """The configuration's status."""
    yield "in force", status.text("in_force")
    reason = status.text("reason")
    yield "source", (status.text("source") or "none") + (f": {reason}" if reason else "")
    yield "instance", status.text("instance_id")
    yield "document", status.text("digest")
    for key, name in (("faults", "fault"), ("warnings", "warning"), ("waiting_for", "waiting for")):
        for each in status.texts(key):
            yield name, each
    for tried in status.inners("tried"):
        yield "tried", f"{tried.text('source')}: {tried.text('outcome')}"


# --- The overlay --------------------------------------------------------------------------------


def overlay_line(status: Values) -> str:
    """The lease, how many peers there are, and what is wrong."""
    lease = status.inner("lease")
    told = status.text("state") or "unknown"
    if lease:
        told += f": {lease.join('subnets')} ({status.text('backend')})"
    told += f", {len(status.inners('peers'))} peers"
    fault = status.text("fault")
    return f"{told}; {fault}" if fault else told


def overlay_facts(status: Values) -> Facts:
    """The overlay without its peers."""
    yield "state", f"{status.text('state')} since {status.text('since')}"
    yield "fault", status.text("fault")
    lease = status.inner("lease")
    yield "subnet", lease.join("subnets") if lease else "none"
    if lease:
        yield "lease ends", lease.text("ends") or "never: it is a reservation"
        yield "traffic ends", lease.text("stops") or "never"
    yield "network", status.join("networks") or "unknown"
    backend, mtu = status.text("backend") or "unknown", status.text("mtu") or "unknown"
    yield "backend", f"{backend}, MTU {mtu}"
    if outer := status.inner("outer"):
        told = f"{outer.text('name')} {outer.join('addresses')}"
        yield "outer", f"{told}, peers are told {outer.join('public')}"
    for each in status.texts("notices"):
        yield "notice", each


def peers(status: Values) -> Sheet:
    """The overlay's peers."""
    rows = tuple(
        Row(
            (
                ",".join(each.texts("subnets")),
                ",".join(each.texts("public")),
                *map(each.text, ("backend", "ends", "problem")),
            ),
            BAD if each.text("problem") else "",
        )
        for each in sorted(status.inners("peers"), key=lambda peer: peer.texts("subnets"))
    )
    return Sheet("Peers", ("subnet", "public", "backend", "ends", "problem"), rows)


# --- The pods -----------------------------------------------------------------------------------


def pods_line(status: Values) -> str:
    """How many pods are ready, and what is wrong."""
    found = status.inners("pods")
    told = f"{sum(each.holds('ready') for each in found)} of {len(found)} pods ready"
    if stage := status.text("draining"):
        told = f"draining ({stage}); {told}"
    faults = [text for _, text in pod_faults(status)]
    return f"{told}; {faults[0]}" if faults else told


def pod_faults(status: Values) -> Facts:
    """What is wrong beyond single pods."""
    if fault := status.text("fault"):
        yield "fault", fault
    for what, why in status.pairs("refused"):
        yield "refused", f"{what}: {why}"
    if cluster := status.inner("cluster"):
        for what, why in cluster.pairs("faults"):
            yield "cluster", f"{what}: {why}"
        if not cluster.holds("lease"):
            yield "cluster", "no lease: replicas do not run"


def pod_facts(status: Values) -> Facts:
    """What is to be said of the pods besides their table."""
    if stage := status.text("draining"):
        yield "drain", stage
    yield from pod_faults(status)


def pods(status: Values) -> Sheet:
    """The pods."""
    rows = tuple(
        Row(
            (
                *map(each.text, ("id", "phase", "ready", "restarts")),
                ",".join(each.texts("addresses")),
                ": ".join(filter(None, (each.text("reason"), each.text("message")))),
            ),
            "" if each.holds("ready") or each.text("phase") == "Succeeded" else BUSY,
        )
        for each in status.inners("pods")
    )
    return Sheet("Pods", ("pod", "phase", "ready", "restarts", "addresses", "reason"), rows)
