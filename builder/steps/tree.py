"""Looking at a tree as a process that has it as its root would: entries, globs, ends of links."""

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path, PurePath

_LINKS_LIMIT = 40  # path_resolution(7)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """A glob over whole relative paths: `**` crosses folders, `*` and `?` do not."""
    text = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
    # A file's name may hold a newline, and must not slip past a rule by it.
    return re.compile(text.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"), re.DOTALL)


def matches(relative: str, patterns: Iterable[str]) -> bool:
    """Whether a path relative to the tree's root matches one of the globs as a whole."""
    return any(_compiled(pattern).fullmatch(relative) for pattern in patterns)


def listed(tree: Path, path: Path, patterns: Iterable[str]) -> bool:
    """Whether a path below `tree` matches one of the globs."""
    return matches(str(path.relative_to(tree)), patterns)


def entries(tree: Path) -> Iterator[Path]:
    """Every file and link below `tree`, in a fixed order, without following links."""
    for folder, folders, files in os.walk(tree):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted([*files, *links]):
            yield here / name


def trail(tree: Path, path: Path) -> list[Path]:
    """Each link that is passed on the way to where `path` ends, and that end, which is last.

    Links of folders on the way count too. The end need not exist; only of links that go in a
    circle is the end itself a link. Nothing outside `tree` is ever looked at.
    """
    passed: list[Path] = []
    here, rest = tree, list(path.relative_to(tree).parts)
    while rest:
        name = rest.pop(0)
        if name == "..":
            here = here if here == tree else here.parent
            continue
        step = here / name
        if not step.is_symlink():
            here = step
            continue
        passed.append(step)
        if len(passed) > _LINKS_LIMIT:
            return passed
        target = PurePath(step.readlink())
        if target.is_absolute():
            here = tree
        rest = [part for part in target.parts if part != target.anchor] + rest
    return [*passed, here]


def within(tree: Path, path: Path) -> Path:
    """Where `path` ends when its links are followed as a process with root `tree` would."""
    return trail(tree, path)[-1]


def leads_somewhere(tree: Path, path: Path) -> bool:
    """Whether `path` ends at something that is in the tree."""
    end = within(tree, path)
    return not end.is_symlink() and end.exists()
