"""What the agent remembers of what it did: which paths are its own, which commands it gave.

Paths below /var outlive a boot and so does their list; everything else is forgotten with it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cloudconfig.desired import Affects, Command, Managed, Reaction
from cloudconfig.places import Places
from cloudconfig.verbs import UnitCommand
from updater.files import write_if_other


@dataclass(frozen=True, slots=True)
class Memory:
    """The applied configuration's paths, commands and accounts."""

    managed: Managed = field(default_factory=dict)
    commands: frozenset[Command] = frozenset()
    accounts: frozenset[str] = field(default_factory=frozenset)


def load(places: Places) -> Memory:
    """What was remembered; nothing where a list is missing or torn."""
    here, there = _read(places.runtime), _read(places.state)
    commands = {
        Command(unit, UnitCommand(verb))
        for unit, verb in here.get("commands", ())
        if verb in {each.value for each in UnitCommand}
    }
    return Memory(
        managed={**_managed(here), **_managed(there)},
        commands=frozenset(commands),
        accounts=frozenset(here.get("accounts", ())),
    )


def save(memory: Memory, places: Places) -> None:
    """Remember; called before anything is written, with the old paths too, and after."""
    commands = sorted((each.unit, each.verb.value) for each in memory.commands)
    for folder in (places.runtime, places.state):
        managed = sorted(path for path in memory.managed if places.keeper(path) == folder)
        affects = {
            str(path): [(each.unit, each.reaction.value) for each in memory.managed[path]]
            for path in managed
        }
        document: dict[str, object] = {
            "schema": 1,
            "managed": list(map(str, managed)),
            "affects": affects,
        }
        if folder == places.runtime:
            document |= {"commands": commands, "accounts": sorted(memory.accounts)}
        # The status beside it is for anybody.
        mode = 0o711 if folder == places.runtime else 0o700
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        # Most boots change nothing, and a disk takes its time.
        write_if_other(folder / "memory.json", json.dumps(document).encode(), mode=0o600)


def _managed(document: dict[str, Any]) -> Managed:
    """Other releases may know other reactions, and earlier ones have kept none."""
    affects = document.get("affects", {})
    known = {each.value: each for each in Reaction}
    return {
        PurePosixPath(path): tuple(
            Affects(unit, known[reaction])
            for unit, reaction in affects.get(path, ())
            if reaction in known
        )
        for path in document.get("managed", ())
    }


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "memory.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("schema") == 1 else {}
