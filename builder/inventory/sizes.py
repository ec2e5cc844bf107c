"""Where the bytes of an image went: by package, as a table for people and as JSON."""

import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from builder.inventory.dpkg import Package
from builder.report import format_size

OURS = "(ours)"
MADE = "(made on installation)"
_PYC = re.compile(r"(?:(.*/)?__pycache__/([^/]+?)\.cpython-[0-9]+(?:\.opt-[12])?|(.*))\.pyc")
_MODULE_SUFFIXES = (".xz", ".zst", ".gz")
_BAR = 24  # characters of the longest bar
_SMALL = 0.002  # share of the total below which packages are summed up in one line


@dataclass(frozen=True, slots=True)
class Share:
    """What one package has in the finished tree; sizes in bytes."""

    name: str
    version: str
    size: int
    files: int
    saved: int  # what pruning took of it


@dataclass(frozen=True, slots=True)
class LargeFile:
    """One of the largest files."""

    path: str
    size: int
    package: str


@dataclass(frozen=True, slots=True)
class SizeReport:
    """The finished tree by package, the largest first; sizes in bytes."""

    title: str
    size: int
    files: int
    unpacked: int
    shares: tuple[Share, ...]
    largest: tuple[LargeFile, ...]


def measure(root: Path) -> Mapping[str, int]:
    """Bytes of each regular file of a tree, by path relative to `root`; hard links count once."""
    sizes: dict[str, int] = {}
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root):
        folders.sort()
        here = Path(folder)
        for name in sorted(names):
            path = here / name
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            identity = status.st_dev, status.st_ino
            first = status.st_nlink == 1 or identity not in seen
            seen.add(identity)
            sizes[str(path.relative_to(root))] = status.st_size if first else 0
    return MappingProxyType(sizes)


def size_report(
    title: str,
    packages: Iterable[Package],
    *,
    before: Mapping[str, int],
    after: Mapping[str, int],
    largest: int = 15,
) -> SizeReport:
    """Compare the tree as Debian unpacked it (`before`) with the finished one (`after`).

    Both come from `measure`. What is made of a package's file counts as the package's: compiled
    Python, unpacked kernel modules. A file that belongs to no package is ours, unless it was
    there before anything of ours came: then a package's script made it. What such scripts made
    and pruning took is not counted: it depends on where the packages came from.
    """
    versions = {package.name: package.version for package in packages}
    owners = {path: package.name for package in packages for path in package.files}
    sizes: dict[str, int] = dict.fromkeys(versions, 0)
    counts: dict[str, int] = {}
    places = {}
    for path, size in after.items():
        owner = _owner(path, owners) or (MADE if path in before else OURS)
        sizes[owner] = sizes.get(owner, 0) + size
        counts[owner] = counts.get(owner, 0) + 1
        places[path] = owner
    unpacked: dict[str, int] = {}
    for path, size in before.items():
        maker = _owner(path, owners) or (MADE if path in after else None)
        if maker:
            unpacked[maker] = unpacked.get(maker, 0) + size
    shares = [
        Share(
            name=name,
            version=versions.get(name, ""),
            size=sizes.get(name, 0),
            files=counts.get(name, 0),
            # Unpacked modules are larger than the packed ones they came as.
            saved=max(0, unpacked.get(name, 0) - sizes.get(name, 0)),
        )
        for name in sizes.keys() | unpacked.keys()
    ]
    top = sorted(after.items(), key=lambda item: (-item[1], item[0]))[:largest]
    return SizeReport(
        title=title,
        size=sum(after.values()),
        files=len(after),
        unpacked=sum(unpacked.values()),
        shares=tuple(sorted(shares, key=lambda share: (-share.size, share.name))),
        largest=tuple(LargeFile(path, size, places[path]) for path, size in top),
    )


def to_plain(report: SizeReport) -> dict[str, object]:
    """The report as JSON values (schema 1)."""
    return {
        "schema": 1,
        "title": report.title,
        "size": report.size,
        "files": report.files,
        "unpacked": report.unpacked,
        "packages": [
            {
                "name": share.name,
                "version": share.version,
                "size": share.size,
                "files": share.files,
                "saved": share.saved,
            }
            for share in report.shares
        ],
        "largest": [
            {"path": file.path, "size": file.size, "package": file.package}
            for file in report.largest
        ],
    }


def render_table(report: SizeReport) -> str:
    """The report as text, at most 100 columns wide for names of common length."""
    saved = max(0, report.unpacked - report.size)
    percent = 100 * saved / report.unpacked if report.unpacked else 0.0
    gone_share = f"{format_size(saved)} ({percent:.0f} %)"
    lines = [
        f"{report.title}: {format_size(report.size)} in {report.files:,} files",
        f"Debian unpacked {format_size(report.unpacked)}, {gone_share} of it is gone",
        "",
        f"{'size':>10} {'share':>7}  {'':{_BAR}}  {'package':<40} {'files':>6} {'pruned':>9}",
    ]
    limit = report.size * _SMALL
    shown = [share for share in report.shares if share.size >= limit and share.size > 0]
    small = [share for share in report.shares if 0 < share.size < limit]
    gone = [share for share in report.shares if share.size == 0 and share.saved]
    longest = max((share.size for share in shown), default=0)
    lines += [_row(share, report.size, longest) for share in shown]
    lines += _summed("smaller packages", small, report.size, longest)
    lines += _summed("packages pruned whole", gone, report.size, longest)
    lines.append("")
    lines.append("Largest files")
    lines += [
        f"{format_size(file.size):>10} {_share(file.size, report.size):>7}  {file.path}"
        f"  [{file.package.strip('()')}]"
        for file in report.largest
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _owner(path: str, owners: Mapping[str, str]) -> str | None:
    if path in owners:
        return owners[path]
    if match := _PYC.fullmatch(path):
        folder, cached, beside = match.groups()
        source = f"{folder or ''}{cached}.py" if cached else f"{beside}.py"
        return owners.get(source)
    if path.endswith(".ko"):
        packed = (path + suffix for suffix in _MODULE_SUFFIXES)
        return next((owners[name] for name in packed if name in owners), None)
    return None


def _summed(label: str, shares: list[Share], total: int, longest: int) -> list[str]:
    if not shares:
        return []
    together = Share(
        name=f"{len(shares)} {label}",
        version="",
        size=sum(share.size for share in shares),
        files=sum(share.files for share in shares),
        saved=sum(share.saved for share in shares),
    )
    return [_row(together, total, longest)]


def _row(share: Share, total: int, longest: int) -> str:
    bar = "█" * min(_BAR, round(_BAR * share.size / longest)) if longest else ""
    pruned = format_size(share.saved) if share.saved else ""
    label = f"{share.name} {share.version}".strip()
    return (
        f"{format_size(share.size):>10} {_share(share.size, total):>7}  {bar:<{_BAR}}  "
        f"{label:<40} {share.files:>6,} {pruned:>9}"
    )


def _share(size: int, total: int) -> str:
    return f"{100 * size / total:.1f} %" if total else ""
