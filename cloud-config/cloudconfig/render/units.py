"""`coreos.units`: units, drop-ins, links of enabled and masked ones, commands."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Command, Desired, File, Link
from cloudconfig.facts import Facts
from cloudconfig.model.coreos import Unit
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.errors import RenderError

# systemd.unit(5), "Description"; no name leads out of the folder.
_NAME = r"[A-Za-z0-9:_.\\@\-]{1,240}\.[a-z]+"
FOLDER = PurePosixPath("/etc/systemd/system")


def render(config: CloudConfig, facts: Facts) -> Desired:
    """Files and links below /etc/systemd/system, and the commands in the document's order.

    Raises:
        RenderError: a unit is to be enabled, and nobody says by which target.
    """
    items: list[File | Link] = []
    commands = []
    for unit in config.coreos.units:
        items += _items(unit, facts)
        if unit.command:
            commands.append(Command(unit.name, unit.command))
    return Desired(items=tuple(items), commands=tuple(commands))


def _items(unit: Unit, facts: Facts) -> Iterator[File | Link]:
    affects = (Affects(unit.name),)
    if unit.mask:
        yield Link(FOLDER / unit.name, "/dev/null", affects)
    elif unit.content is not None:
        yield File(FOLDER / unit.name, _ending(unit.content), affects=affects)
    for drop_in in unit.drop_ins:
        folder = FOLDER / f"{unit.name}.d"
        yield File(folder / drop_in.name, _ending(drop_in.content), affects=affects)
    if unit.enable:
        yield from _enabled(unit, facts)


def _enabled(unit: Unit, facts: Facts) -> Iterator[Link]:
    """What `systemctl enable` would link (systemd.unit(5), "[Install] SECTION OPTIONS")."""
    content = facts.units.get(unit.name, "") if unit.content is None else unit.content
    install = install_section("\n".join([content, *(piece.content for piece in unit.drop_ins)]))
    name = unit.name
    stem, at, suffix = name.partition("@.")
    if at:
        instance = (install.get("DefaultInstance") or [""])[-1]
        if not instance:
            raise RenderError(
                f"coreos.units: {name}: a template without DefaultInstance=; enable"
                f" {stem}@NAME.{suffix}"
            )
        name = f"{stem}@{instance}.{suffix}"
    found = False
    for word, folder in (
        ("WantedBy", "wants"),
        ("RequiredBy", "requires"),
        ("UpheldBy", "upholds"),
    ):
        for target in install.get(word, ()):
            found = True
            _check_name(target, unit.name)
            # A link to the name alone would do; the whole path is what systemctl writes.
            yield Link(FOLDER / f"{target}.{folder}" / name, f"../{unit.name}")
    for alias in install.get("Alias", ()):
        found = True
        _check_name(alias, unit.name)
        yield Link(FOLDER / alias, unit.name)
    if not found and (unit.content is not None or facts.units):
        raise RenderError(
            f"coreos.units: {unit.name}: enable, but its [Install] section names no unit that"
            " starts it; add WantedBy=multi-user.target, or use command: start"
        )


def _check_name(name: str, unit: str) -> None:
    if not re.fullmatch(_NAME, name):
        raise RenderError(
            f"coreos.units: {unit}: its [Install] section names {ascii(name)[:80]},"
            " which is no unit"
        )


def install_section(text: str) -> dict[str, list[str]]:
    """The [Install] section: words by key; an empty value forgets what was before it."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in text.replace("\\\n", " ").splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif section == "[Install]" and "=" in stripped and stripped[0] not in "#;":
            name, _, value = stripped.partition("=")
            words = value.split()
            found[name.strip()] = [*found.get(name.strip(), ()), *words] if words else []
    return found


def _ending(text: str) -> bytes:
    return text.encode() if text.endswith("\n") else f"{text}\n".encode()
