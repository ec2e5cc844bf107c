"""System extensions until the next boot: listed, added, taken away.

An image that comes by the API lies below /var, not in memory, and a link in /etc/extensions names
it; systemd-tmpfiles empties the folder at boot, and /etc is made anew. So the cloud-config wins
again. An empty folder in /etc/extensions hides an extension of a document or a disk as long
(systemd-sysext(8)).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cloudconfig import extensions, host, report
from cloudconfig.current import current
from cloudconfig.desired import FETCH_LIMIT, Fetched
from cloudconfig.extensionimage import ExtensionError, read_image
from cloudconfig.extensions import Extension, Given, Source, State
from cloudconfig.places import EXTENSIONS, RAW, Places
from cloudconfig.report import ConfigStatus, InForce
from hostapi.acts.types import Act, Request, Tell
from updater.errors import BedplateError, InputError
from updater.files import write_atomic
from updater.programs import ProgramError, run, show_unit
from updater.store import locked

_KEPT = PurePosixPath("/var/lib/bedplate/extensions")
_LOCK = "run/bedplate/extensions.lock"
_MERGE = "bedplate-extensions-merge.service"
_MERGE_SECONDS = 180.0
_STOP_SECONDS = 120.0
_SHOWN_LINES = 4  # of what systemd-sysext says
_BY = {
    Source.API: "the API",
    Source.DISK: "an attached disk",
    Source.DOCUMENT: "the document",
}


@dataclass(frozen=True, slots=True)
class _Declared:
    """What the document says: its extensions, each with why it is missing; the way out."""

    missing: Mapping[str, str]
    proxies: Mapping[str, str]


def _declared(places: Places) -> _Declared:
    try:
        given = current(places)
        status = report.read(places)
        if given is None or status is None:
            return _Declared({}, {})
        prepared = host.prepare(given, places, ConfigStatus(in_force=InForce.DOCUMENT))
    except (BedplateError, OSError):
        # Then what is there can be told all the same.
        return _Declared({}, {})
    missing = {}
    for item in prepared.desired.items:
        if isinstance(item, Fetched) and item.path.parent == EXTENSIONS:
            faults = [line for line in status.faults if line.startswith(f"{item.path}: ")]
            reason = faults[0].removeprefix(f"{item.path}: ") if faults else "not fetched yet"
            missing[item.path.stem] = reason
    return _Declared(missing, prepared.compiled.proxies)


def listed(places: Places) -> tuple[Extension, ...]:
    """All extensions of this host, by name."""
    return extensions.judge(extensions.observe(places), _declared(places).missing)


def add(name: str, url: str, sha256: str, places: Places) -> str:
    """Fetch a signed extension, merge it until the next boot, and say so.

    Raises:
        InputError: there is one of this name, or this one is refused; the message says why, and
            the host is as it was.
        updater.store.BusyError: another change is under way.
        BedplateError: it cannot be fetched, or is not what was asked for.
        OSError: there is no room for it.
    """
    from cloudconfig.transfer import fetch_pinned  # noqa: PLC0415 - it takes seconds to import

    with _alone(places):
        there = {each.name: each for each in listed(places)}.get(name)
        if there is not None and there.state is not State.ABSENT:
            raise InputError(
                f"{name}: there is one already, by {_BY[there.source]}; take it away first"
            )
        content = fetch_pinned(url, sha256, {}, FETCH_LIMIT, _declared(places).proxies)
        path = _kept(name, places)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, content, mode=0o600)
        try:
            _check(name, path, places)
            _laid(name, path, places)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    return f"{name} is merged until the next boot"


def remove(name: str, places: Places) -> str:
    """Take an extension away until the next boot, stop what it brought, and say so.

    Raises:
        FileNotFoundError: there is none of this name.
        updater.store.BusyError: another change is under way.
        BedplateError: systemd-sysext does not do it.
    """
    with _alone(places):
        found = {each.name: each for each in listed(places)}.get(name)
        if found is None or found.state is State.ABSENT:
            raise FileNotFoundError(f"{name}: there is no such extension on this host")
        before = extensions.laid(places)
        link, folder = _named(name, places), _mask(name, places)
        if found.source is Source.API:
            link.unlink()
        else:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            _merge()
        except BedplateError:
            if found.source is Source.API:
                link.symlink_to(_kept(name, places))
            else:
                folder.rmdir()
            raise
        _kept(name, places).unlink(missing_ok=True)
        if gone := sorted(before.units - extensions.left_laid(places).units):
            run(("systemctl", "stop", *gone), time_out=_STOP_SECONDS)
        run(("systemctl", "daemon-reload"))
    if found.source is Source.API:
        return f"{name} is taken away"
    return f"{name} is taken away until the next boot; then {_BY[found.source]} brings it again"


def _check(name: str, path: Path, places: Places) -> None:
    """Refuse what systemd would refuse, in words, before it is asked."""
    try:
        image = read_image(path)
    except ExtensionError as error:
        raise InputError(str(error).replace(str(path), name)) from None
    seen, given = extensions.observe(places), Given(Source.API, image)
    reason = extensions.fault(given, seen) or extensions.misfit(name, given, seen.release)
    if reason:
        raise InputError(f"{name}: refused: {reason}")


def _laid(name: str, path: Path, places: Places) -> None:
    """Merge with the image at `path`; without it again if systemd does not take it."""
    link, folder = _named(name, places), _mask(name, places)
    link.parent.mkdir(parents=True, exist_ok=True)
    hidden = folder.is_dir()
    with suppress(FileNotFoundError):
        folder.rmdir()
    link.symlink_to(path)
    try:
        _merge_with(name, places)
    except BedplateError as error:
        link.unlink()
        if hidden:
            folder.mkdir()
        with suppress(BedplateError):
            _merge()
        raise InputError(f"{name}: refused: {error}") from error


def _merge_with(name: str, places: Places) -> None:
    before = extensions.laid(places)
    _merge()
    # Told by a unit in the host's own name space: here, /usr may be as it was.
    after = extensions.left_laid(places)
    if name not in after.merged:
        raise BedplateError(f"systemd-sysext did not take it: {_said()}")
    run(("systemctl", "daemon-reload"))
    # By name: a target that is reached already starts no more, and its restart is others' too.
    new = sorted(after.units - before.units)
    run(("systemctl", "--no-block", "start", "bedplate-extensions.target", *new))


def _merge() -> None:
    try:
        run(("systemctl", "start", _MERGE), time_out=_MERGE_SECONDS)
    except ProgramError as error:
        raise BedplateError(f"systemd-sysext failed: {_said()}") from error


def _said() -> str:
    """What systemd-sysext wrote last to the journal."""
    try:
        invocation = show_unit(_MERGE, ("InvocationID",)).get("InvocationID", "")
        lines = run(
            ("journalctl", "--quiet", "--output=cat", f"--lines={_SHOWN_LINES}")
            + (f"_SYSTEMD_INVOCATION_ID={invocation}",)
        )
    except ProgramError:
        lines = ""
    return " | ".join(lines.split("\n")).strip(" |") or f"the journal of {_MERGE} says why"


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    with locked(places.root / _LOCK, wait=False, what="another change of extensions"):
        yield


def _kept(name: str, places: Places) -> Path:
    return places.on_host(_KEPT) / f"{name}{RAW}"


def _named(name: str, places: Places) -> Path:
    return places.on_host(extensions.FIRST) / f"{name}{RAW}"


def _mask(name: str, places: Places) -> Path:
    return places.on_host(extensions.FIRST) / name


def _list(_request: Request, _tell: Tell) -> Mapping[str, object]:
    return {"extensions": [each.plain() for each in listed(Places())]}


def _add(request: Request, _tell: Tell) -> Mapping[str, object]:
    name, url, sha256 = (str(request.arguments[each]) for each in ("name", "url", "sha256"))
    return {"done": add(name, url, sha256, Places())}


def _remove(request: Request, _tell: Tell) -> Mapping[str, object]:
    return {"done": remove(str(request.arguments["name"]), Places())}


ACTS: Mapping[str, Act] = {
    "extensions": _list,
    "extension-add": _add,
    "extension-remove": _remove,
}
