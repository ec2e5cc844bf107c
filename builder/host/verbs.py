"""What each verb asks of one host, and what is made of the answer."""

import difflib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from builder import output
from builder.fleet.safe import clean
from builder.host import bundle, waiting
from builder.host.agents import progress
from builder.host.asking import ask
from builder.host.errors import HostError
from builder.host.outcome import Outcome, outcome, said
from builder.host.values import Values, block
from builder.host.work import Work
from builder.report import Step, format_size
from hostapi.contract import BY_NAME, MAXIMUM_BODY
from updater.errors import InputError

Verb = Callable[[Work], Outcome]


def _shown(endpoint: str, view: str) -> Verb:
    """The endpoint of that name with what the options say of its parameters, in that view."""

    def verb(work: Work) -> Outcome:
        return outcome(view, work.client.json(ask(endpoint, _arguments(endpoint, work))))

    return verb


def _arguments(endpoint: str, work: Work) -> Mapping[str, object]:
    known = BY_NAME[endpoint].parameters + BY_NAME[endpoint].fields
    return {each.name: getattr(work.options, each.name, None) for each in known}


def _metrics(work: Work) -> Outcome:
    lines = block(work.client.text(ask("metrics")).rstrip("\n"))
    samples = sum(1 for line in lines if line and not line.startswith("#"))
    document = {"schema": 1, "metrics": "\n".join(lines) + "\n"}
    return Outcome(document, (lines,), f"{samples} samples")


def _certificate(work: Work) -> Outcome:
    status = work.client.json(ask("status"))
    return outcome("certificate", {"schema": 1, "certificate": status.get("certificate")})


# --- The configuration ----------------------------------------------------------------------------


def _plan(work: Work) -> Outcome:
    document = work.client.json(ask("config-plan", document=_read(work.options.file)))
    if document.get("faults"):
        return outcome("config-plan", document, "refused", 2)
    return outcome("config-plan", document)


def _diff(work: Work) -> Outcome:
    """What the host has in force against a file, both without their secrets."""
    # Only here: it brings the whole model of a configuration.
    from cloudconfig.redacted import redact  # noqa: PLC0415

    file: Path = work.options.file
    after = redact(_read(file).encode(), file)
    before = work.client.json(ask("config")).get("document")
    if not isinstance(before, str):
        raise HostError(f"{work.name}: it shows no document; is its release older?")
    lines = [
        *difflib.unified_diff(
            before.splitlines(),
            after.splitlines(),
            f"{work.name}: in force",
            str(file),
            lineterm="",
        )
    ]
    shown = [clean(line) for line in lines]
    changed = sum(1 for line in lines[2:] if line[0] in "+-")
    document = {"schema": 1, "same": not lines, "diff": shown}
    if not lines:
        return Outcome(document, (["the same, but for secrets"],), "the same")
    return Outcome(document, (shown,), f"{changed} lines differ", "different", 1)


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        data = stream.read(MAXIMUM_BODY + 1)
    if len(data) > MAXIMUM_BODY:
        raise InputError(f"{file}: longer than the {MAXIMUM_BODY} bytes that a host takes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: not UTF-8 at byte {error.start}") from None


# --- The update -----------------------------------------------------------------------------------


def _stage(work: Work) -> Outcome:
    result: object = None
    with work.reporter.step(f"{work.name}: stage") as step:
        for line in work.client.lines(ask("stage")):
            found = Values(line)
            if told := found.inner("progress"):
                _tell(told, step)
            result = line.get("result", result)
        if not isinstance(result, dict):
            raise HostError(
                f"{work.name}: the stream ended before the result; it may be at work still: "
                f"`bedplate host {work.name} update`"
            )
        answer = outcome("stage", {"schema": 1, **result})
        step.note(answer.line)
    return answer


def _tell(told: Values, step: Step) -> None:
    if total := told.whole("total"):
        step.progress(told.whole("done"), total)
        step.output(progress(told))
    elif text := told.text("text") or told.text("step"):
        step.output(text)


def _override(work: Work) -> Outcome:
    if work.options.end:
        if work.options.channel or work.options.strategy:
            raise InputError("--end takes neither --channel nor --strategy")
        return outcome("done", work.client.json(ask("override-end")))
    arguments = _arguments("override", work)
    if not any(arguments.values()):
        raise InputError("override: give --channel, --strategy or both, or --end")
    return outcome("override", work.client.json(ask("override", arguments)))


def _going_down(endpoint: str) -> Verb:
    """A verb after which the host reboots; with --wait, until it is back and healthy."""

    def verb(work: Work) -> Outcome:
        asked, client = ask(endpoint, _arguments(endpoint, work)), work.client
        if not work.options.wait:
            return outcome("done", client.json(asked))
        before = waiting.boot_of(client)
        with work.reporter.step(f"{work.name}: {endpoint}") as step:
            step.output(outcome("done", client.json(asked)).line)
            told = waiting.wait(client, before, work.options.timeout, step, work.clock)
            step.note(told)
        return said(told)

    return verb


def _wipe(work: Work) -> Outcome:
    if work.options.yes_wipe != work.options.hostname:
        raise InputError(
            f"wipe: {work.options.hostname} loses all that is in its /var, its identity too, and "
            f"reboots; if that is meant, add --yes-wipe {work.options.hostname}"
        )
    return _going_down("wipe")(work)


# --- Files ----------------------------------------------------------------------------------------


def _crash(work: Work) -> Outcome:
    """One crash, as a file: whole, or not at all."""
    name = work.options.name
    final = _file(work, f"{work.name}-{name}" if work.several else name)
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=f".{final.name}-") as folder:
        made = Path(folder) / "crash"
        # A core dump holds what was in the memory of a program: its owner's alone.
        made.touch(mode=0o600)
        with work.reporter.step(f"{work.name}: {name}"), made.open("wb") as sink:
            length = work.client.save(ask("crash", {"name": name}), sink)
        output.put(made, final)
    return said(f"{final}: {format_size(length)}", file=str(final), bytes=length)


def _bundle(work: Work) -> Outcome:
    final = _file(work, bundle.file_name(work.name))
    with work.reporter.step(f"{work.name}: bundle") as step:
        made = bundle.collect(work.client, final, step)
    line = f"{final}: {len(made.members)} files, {format_size(final.stat().st_size)}"
    if made.failed:
        names = ", ".join(each.name for each in made.failed)
        line += f"; not to be had, see manifest.json: {names}"
    return said(line, file=str(final), size=final.stat().st_size, **made.plain())


def _file(work: Work, name: str) -> Path:
    """Where a file goes: --output, which may be a folder and is one if there are many; or here."""
    chosen: Path = work.options.output or Path()
    return chosen / name if work.several or chosen.is_dir() else chosen


VERBS: Mapping[str, Verb] = {
    "status": _shown("status", "status"),
    "boots": _shown("boots", "boots"),
    "timings": _shown("timings", "timings"),
    "pods": _shown("pods", "pods"),
    "metrics": _metrics,
    "overlay": _shown("overlay", "overlay"),
    "update": _shown("update", "update"),
    "check": _shown("check", "check"),
    "stage": _stage,
    "reboot": _going_down("reboot"),
    "rollback": _going_down("rollback"),
    "override": _override,
    "config": _shown("config", "config"),
    "config-plan": _plan,
    "config-diff": _diff,
    "trust": _shown("trust", "trust"),
    "certificate": _certificate,
    "certificate-renew": _shown("renew", "done"),
    "extension-list": _shown("extensions", "extensions"),
    "extension-add": _shown("extension-add", "done"),
    "extension-remove": _shown("extension-remove", "done"),
    "crash-list": _shown("crashes", "crashes"),
    "crash-get": _crash,
    "bundle": _bundle,
    "wipe": _wipe,
}
