"""What the tests of the builder share: fake tools, and trees written as a mapping."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.run import Sandbox

Answer = Callable[[Sequence[str]], str]


def silent(_command: Sequence[str]) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Tools(Sandbox):
    """A sandbox that runs nothing: it keeps what it was asked and gives the test's answer."""

    answer: Answer = silent
    asked: list[list[str]] = field(default_factory=list)
    fed: list[bytes | None] = field(default_factory=list)

    def run(
        self,
        command: Sequence[str],
        *,
        stdin: bytes | None = None,
        cwd: Path | None = None,  # noqa: ARG002
        on_line: Callable[[str], None] = print,  # noqa: ARG002
    ) -> str:
        self.asked.append(list(command))
        self.fed.append(stdin)
        return self.answer(command)


def tools(answer: Answer = silent) -> Tools:
    return Tools(Path("/nowhere"), answer=answer)


def plant(tree: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files; a text of "-> x" is a link to x, and one that begins with #! is executable."""
    for name, content in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
            continue
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)
        path.chmod(0o755 if data.startswith((b"#!", b"\x7fELF")) else 0o644)
    return tree


def names(tree: Path) -> set[str]:
    """Every file and link below `tree`."""
    return {
        str(path.relative_to(tree))
        for path in tree.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def elf(*needed: str) -> bytes:
    """What passes for an ELF file with `readelf`, as the fake tools have it."""
    return b"\x7fELF" + " ".join(needed).encode()


def readelf(command: Sequence[str]) -> str:
    """readelf(1) of files that `elf` made, in binutils' own words."""
    if command[0] != "readelf":
        return ""
    lines = []
    for name in command[3:]:
        lines.append(f"\nFile: {name}")
        data = Path(name).read_bytes()
        # The first file is the tool tree's own, and real.
        sonames = data[4:].decode().split() if name != command[3] else []
        lines += [f" 0x01 (NEEDED)   Shared library: [{soname}]" for soname in sonames]
    return "\n".join(lines)
