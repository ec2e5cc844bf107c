"""Emptying /var: asked for by an EFI variable, done by the next boot before anything uses it.

What systemd-repart(8) does for `FactoryReset=`, in two steps of ours: the partition is taken out of
the table by `bedplate-wipe.service`, and systemd-repart.service makes it anew as on a first boot.
Why not all of it by repart: docs/adr/0054.
"""

from updater import efivars, gpt, partitions
from updater.context import Context
from updater.errors import BedplateError
from updater.gpt import Entry, Table
from updater.slots import VAR, VAR_LABEL


class WipeError(BedplateError):
    """/var cannot be emptied, and stays as it is; the message says why."""


def state_partition(table: Table) -> Entry | None:
    """The partition of /var, as the first boot made it. Pure."""
    found = [each for each in table.entries if (each.type, each.label) == (VAR, VAR_LABEL)]
    return found[0] if len(found) == 1 else None


def ask(context: Context) -> None:
    """Have the next boot empty /var; there is no way back from here but a power cut.

    Raises:
        WipeError: /var is not a partition of the host's own disk, or the firmware keeps no
            variables.
        SlotError, GptError, OSError: the disk is not one of ours, or cannot be read.
    """
    disk = context.layout().disk
    if state_partition(gpt.read(disk)) is None:
        raise WipeError(
            f"{disk} has no one partition {VAR_LABEL} as a first boot makes it: /var stays"
        )
    try:
        efivars.ask_for_reset(context.paths.root)
    except OSError as error:
        raise WipeError(
            f"the firmware does not keep {efivars.FACTORY_RESET}: {error.strerror or error}; "
            "without it the next boot would not know that /var is to be emptied"
        ) from error


def take(context: Context) -> str:
    """Take /var's partition out of the table, if that was asked for: early in a boot, by a unit.

    The variable goes first: one that cannot be removed would empty /var at every boot. A power cut
    leaves the old /var, or none in the table, which is how a first boot begins.

    Returns:
        What was done, in a line.

    Raises:
        WipeError: the variable cannot be removed.
        SlotError, GptError, OSError: the disk is not one of ours, or /var is in use.
    """
    root = context.paths.root
    if not efivars.reset_asked(root):
        return "nobody asked for an empty /var"
    disk = context.layout().disk
    table = gpt.read(disk)
    entry = state_partition(table)
    try:
        efivars.forget_reset(root)
    except OSError as error:
        raise WipeError(
            f"{efivars.FACTORY_RESET} cannot be removed: {error.strerror or error}; /var stays, "
            "for it would be emptied at every boot"
        ) from error
    if entry is None:
        return f"{disk} has no partition {VAR_LABEL}"
    # What is in use is refused here, before the table changes.
    partitions.forget(disk, entry.number)
    gpt.write(disk, table.without(entry.number))
    return f"partition {entry.number} of {disk} is no more: /var begins anew"
