"""`coreos.units`: units, drop-ins, links of enabled and masked ones, commands."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Command, Desired, File, Link
from cloudconfig.facts import Facts
from cloudconfig.install import links
from cloudconfig.model.coreos import Unit, whole_text
from cloudconfig.model.top import CloudConfig
from cloudconfig.render.errors import RenderError
from hostkit.document.schema import Fault

FOLDER = PurePosixPath("/etc/systemd/system")


def render(config: CloudConfig, facts: Facts) -> Desired:
    """Files and links below /etc/systemd/system, and the commands in the document's order.

    Raises:
        RenderError: a unit of the image is to be enabled, and nobody says by which target.
    """
    items: list[File | Link] = []
    commands = []
    faults = []
    for at, unit in enumerate(config.coreos.units):
        try:
            items += _items(unit, facts)
        except ValueError as error:
            message = f"coreos.units: {unit.name}: {error}"
            faults.append(Fault(message, ("coreos", "units", at, "enable")))
        if unit.command:
            commands.append(Command(unit.name, unit.command))
    if faults:
        raise RenderError(*faults)
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
        for path, target in _links(unit, facts):
            yield Link(FOLDER / path, target)


def _links(unit: Unit, facts: Facts) -> tuple[tuple[str, str], ...]:
    try:
        return links(unit.name, whole_text(unit, facts.units.get(unit.name, "")))
    except ValueError:
        if unit.content is None and not facts.units:
            # On a workstation nobody knows what the image's own units say.
            return ()
        raise


def _ending(text: str) -> bytes:
    return text.encode() if text.endswith("\n") else f"{text}\n".encode()
