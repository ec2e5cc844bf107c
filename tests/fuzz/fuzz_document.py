"""Random bytes into the reading of cloud-configs, for as long as libFuzzer is told.

`make fuzz` runs it. Some inputs are not the document itself, but choices that Hypothesis makes a
nearly right one of, as no random bytes get past the first key. What reading must hold is in
tests/unit/config_oracle.py; the seeds are the documents of the handbook, and the dictionary is
the words of the schema.
"""

import importlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings

# Not imported by its name: it is there for `make fuzz` only, and has no types.
atheris: Any = importlib.import_module("atheris")
with atheris.instrument_imports(include=["cloudconfig", "hostkit"]):
    from cloudconfig.reference import json_schema
    from config_documents import ROOT, cloud_configs
    from config_oracle import outcome
    from config_strategies import documents

_HEADER = b"#cloud-config\n"


@settings(deadline=None, database=None)
@given(documents())
def _look(text: str) -> None:
    outcome(text.encode())


_nearly_right: Any = _look  # Hypothesis does not type what it adds to a function


def one_input(data: bytes) -> None:
    """Bytes as they are, as what stands under the first line, or as choices for Hypothesis."""
    if data[:1] == b"\0":
        _nearly_right.hypothesis.fuzz_one_input(data[1:])
    else:
        outcome(data)
        outcome(_HEADER + data)


def _words(schema: object) -> Iterator[str]:
    if isinstance(schema, list):
        for inner in schema:
            yield from _words(inner)
    if isinstance(schema, dict):
        yield from map(str, schema.get("enum", ()))
        for name, inner in schema.items():
            yield name
            yield from _words(inner)


def _write_dictionary(path: Path) -> None:
    """Of libFuzzer's format: a quoted word a line."""
    words = {word for word in _words(json_schema()) if word.replace("_", "").isalnum()}
    path.write_text("".join(f'"{word}"\n' for word in sorted(words)))


def _write_seeds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, text) in enumerate(cloud_configs()):
        (folder / f"seed-{number}").write_text(text.removeprefix(_HEADER.decode()))
    for number in range(16):
        choices = bytes((number * at) % 251 for at in range(1, 2000))
        (folder / f"seed-choices-{number}").write_bytes(b"\0" + choices)


def main(options: list[str]) -> None:
    """Fuzz; a crash ends the program with its traceback, and leaves the bytes in .cache/fuzz."""
    kept = ROOT / ".cache/fuzz"
    _write_seeds(kept / "document")
    with tempfile.NamedTemporaryFile(prefix="fuzz-", suffix=".dict") as dictionary:
        _write_dictionary(Path(dictionary.name))
        ours = [f"-dict={dictionary.name}", f"-artifact_prefix={kept}/document-", "-max_len=4096"]
        atheris.Setup([sys.argv[0], *ours, *options, str(kept / "document")], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
