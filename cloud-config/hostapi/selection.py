"""Which entries of the journal are wanted, as the journal's own matches. Pure.

The journal answers them from its indices, so that a question about one unit does not read what all
the others wrote.
"""

from collections.abc import Iterable, Sequence

from hostapi.reader import Reader

Term = tuple[str, ...]  # FIELD=value: all of them
Group = tuple[Term, ...]  # any of the terms
_SUFFIXES = (
    ".automount",
    ".device",
    ".mount",
    ".path",
    ".scope",
    ".service",
    ".slice",
    ".socket",
    ".swap",
    ".target",
    ".timer",
)
COREDUMP = "MESSAGE_ID=fc2e22bc6ee647b6b90729ab34a250b1"  # SD_MESSAGE_COREDUMP, sd-messages.h


def of_unit(unit: str) -> Group:
    """What a unit logs, and what is told about it: the terms of `journalctl --unit`.

    Who may say UNIT= of another is in them, so that no service can put words into another's log.
    """
    name = unit if unit.endswith(_SUFFIXES) else f"{unit}.service"
    return (
        (f"_SYSTEMD_UNIT={name}",),
        ("_PID=1", f"UNIT={name}"),
        ("_UID=0", f"OBJECT_SYSTEMD_UNIT={name}"),
        (COREDUMP, "_UID=0", f"COREDUMP_UNIT={name}"),
    )


def of_pod(pod: str, container: str | None, known: Iterable[str]) -> Group:
    """What the containers of a pod log; `known` are podman's names of those that it has."""
    if container is not None:
        return ((f"CONTAINER_NAME={pod}-{container}",),)
    return ((f"CONTAINER_TAG={pod}",), *((f"CONTAINER_NAME={name}",) for name in known))


def of_priority(priority: int) -> Group:
    """As grave as this or graver."""
    return tuple((f"PRIORITY={level}",) for level in range(priority + 1))


def of_boot(boot: str) -> Group:
    """Of one boot, by its id."""
    return ((f"_BOOT_ID={boot}",),)


def select(reader: Reader, groups: Sequence[Group]) -> None:
    """Let a reader see what is in every one of the groups; see sd_journal_add_match(3)."""
    for group in groups:
        for place, term in enumerate(group):
            if place:
                reader.add_disjunction()
            reader.add_match(*term)
        reader.add_conjunction()
