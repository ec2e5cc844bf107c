"""The files a definition lays over the image: what they hold, where they go, their permissions.

Permissions of trees come from the executable bit alone, so that a checkout's umask or owner
never reaches an image.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from builder.definition.model import Definition, File
from hostkit.document.source import DocumentError, Place, Problem
from updater.errors import InputError

TEMPLATE_SUFFIX = ".j2"
TEMPLATE_LIMIT = 1 << 20  # bytes of a template


@dataclass(frozen=True, slots=True)
class LaidFile:
    """One file to write: `data`, or a link to `link`."""

    path: PurePosixPath  # absolute in the image
    data: bytes
    link: str | None
    mode: int


def laid_files(
    definition: Definition,
    trees: tuple[Path, ...],
    files: tuple[File, ...],
    extra: Mapping[str, str] | None = None,
) -> tuple[LaidFile, ...]:
    """What `trees` and then `files` put in an image, sorted by path; the last of a path wins.

    Templates see the definition's variables, `extra` over them, and `image.name`,
    `image.version`, `image.architecture` and `image.suite`, and `disk.esp`, `disk.root` and
    `disk.verity` in bytes. Pass `definition.trees` and
    `definition.files` for the root, `definition.initrd.trees` and nothing for the initrd.

    Raises:
        DocumentError: a template does not render, with its file and line.
        OSError: a file cannot be read.
    """
    context = template_context(definition) | dict(extra or {})
    laid: dict[PurePosixPath, LaidFile] = {}
    for tree in trees:
        for source in _walk(tree):
            entry = _from_tree(tree, source, context)
            laid[entry.path] = entry
    for file in files:
        laid[file.path] = _from_file(file, context)
    return tuple(laid[path] for path in sorted(laid))


def template_context(definition: Definition) -> dict[str, object]:
    """The names that templates see."""
    image = {
        "name": definition.name,
        "version": str(definition.version),
        "architecture": definition.architecture.value,
        "suite": definition.suite,
    }
    disk = {
        "esp": definition.disk.esp,
        "root": definition.disk.root,
        "verity": definition.disk.verity,
    }
    return {**definition.variables, "image": image, "disk": disk}


def render(template: Path, context: Mapping[str, object]) -> bytes:
    """The text of a Jinja2 template, UTF-8; an undefined name is an error.

    Raises:
        DocumentError: with the line of the template where it failed.
    """
    text = _text(template)
    # Configuration files and units are no HTML, so nothing is escaped.
    environment = SandboxedEnvironment(
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        code = environment.compile(text, template.name, str(template))
        compiled = environment.template_class.from_code(
            environment, code, environment.make_globals(None)
        )
        return compiled.render(context).encode()
    except Exception as error:  # noqa: BLE001 (a template can raise whatever an expression can)
        message = f"template: {_reason(error)}"
        place = Place(template, _line(error, template), 1)
        raise DocumentError([Problem(place, message)]) from None


def _text(template: Path) -> str:
    with template.open("rb") as stream:
        data = stream.read(TEMPLATE_LIMIT + 1)
    message = None
    if len(data) > TEMPLATE_LIMIT:
        message = f"longer than the {TEMPLATE_LIMIT} bytes a template may have"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        message = message or "not UTF-8, as a template must be"
    if message:
        raise DocumentError([Problem(Place(template, 1, 1), message)])
    return text


def _reason(error: Exception) -> str:
    words = str(error.message if isinstance(error, TemplateError) else error)
    first = words.splitlines()[0] if words else type(error).__name__
    return first if isinstance(error, TemplateError) else f"{type(error).__name__}: {first}"


def _line(error: Exception, template: Path) -> int:
    """The template's line: Jinja2 rewrites tracebacks so that frames name templates."""
    line = getattr(error, "lineno", None) or 1
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == str(template):
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return int(line)


def _walk(tree: Path) -> list[Path]:
    """Files and links below `tree`; empty folders are not in a checkout, so they do not count."""
    found = []
    for folder, folders, names in os.walk(tree):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        found += [here / name for name in [*names, *links]]
    return sorted(found)


def _from_tree(tree: Path, source: Path, context: Mapping[str, object]) -> LaidFile:
    path = PurePosixPath("/") / source.relative_to(tree)
    if source.is_symlink():
        return LaidFile(path, b"", str(source.readlink()), 0o777)
    mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
    if path.suffix == TEMPLATE_SUFFIX:
        return LaidFile(path.with_suffix(""), render(source, context), None, mode)
    return LaidFile(path, source.read_bytes(), None, mode)


def _from_file(file: File, context: Mapping[str, object]) -> LaidFile:
    if file.link is not None:
        return LaidFile(file.path, b"", file.link, 0o777)
    if file.template is not None:
        return LaidFile(file.path, render(file.template, context), None, file.mode)
    if file.source is not None:
        return LaidFile(file.path, file.source.read_bytes(), None, file.mode)
    return LaidFile(file.path, (file.content or "").encode(), None, file.mode)


def write_files(root: Path, laid: tuple[LaidFile, ...]) -> None:
    """Write files into the tree at `root`, in place of what is there.

    Raises:
        InputError: a folder on the way is a link that leads out of the tree.
        OSError: the disk is full, or a folder stands where a file should go.
    """
    inside = root.resolve()
    for file in laid:
        target = root / file.path.relative_to("/")
        if not target.parent.resolve().is_relative_to(inside):
            raise InputError(
                f"{file.path}: its folder is a link out of the image; name the folder it means"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        if file.link is not None:
            target.symlink_to(file.link)
        else:
            target.write_bytes(file.data)
            target.chmod(file.mode)
