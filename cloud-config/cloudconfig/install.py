"""The [Install] section of a unit: what `systemctl enable` would link (systemd.unit(5))."""

import re
from collections.abc import Iterator

# systemd.unit(5), "Description"; no name leads out of the folder.
_NAME = r"[A-Za-z0-9:_.\\@\-]{1,240}\.[a-z]+"
_FOLDERS = (("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds"))


def links(name: str, text: str) -> tuple[tuple[str, str], ...]:
    """The links of the unit `name`, of this text: each below the units' folder, and its target.

    Raises:
        ValueError: no link follows from it, or one that cannot be.
    """
    found = tuple(_links(name, install_section(text)))
    if not found:
        raise ValueError(
            "enable, but its [Install] section names no unit that starts it; add"
            " WantedBy=multi-user.target, or use command: start"
        )
    return found


def _links(name: str, install: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    linked = name
    stem, at, suffix = name.partition("@.")
    if at:
        instance = (install.get("DefaultInstance") or [""])[-1]
        if not instance:
            raise ValueError(f"a template without DefaultInstance=; enable {stem}@NAME.{suffix}")
        linked = _checked(f"{stem}@{instance}.{suffix}")
    for word, folder in _FOLDERS:
        for target in install.get(word, ()):
            # A link to the name alone would do; the whole path is what systemctl writes.
            yield f"{_checked(target)}.{folder}/{linked}", f"../{name}"
    for alias in install.get("Alias", ()):
        yield _checked(alias), name


def _checked(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        raise ValueError(f"its [Install] section names {ascii(name)[:80]}, which is no unit")
    return name


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
