"""A table of nftables as it is, for who compares it with what it should be."""

from updater.programs import run


def observe(family: str, name: str) -> str:
    """The table as it is, empty if there is none.

    Raises:
        ProgramError: nft cannot tell.
    """
    if f"table {family} {name}" not in run(("nft", "list", "tables", family)).splitlines():
        return ""
    return run(("nft", "-s", "list", "table", family, name))
