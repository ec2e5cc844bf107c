"""What ConfigMaps and Secrets hold, alike for both."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podagent.manifest.documents import ConfigMap, Secret
from podagent.manifest.kinds import VALUE


@dataclass(frozen=True, slots=True)
class Contents:
    """Keys as files, and those of them that can be variables' values."""

    files: Mapping[str, bytes] = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)
    skipped: tuple[str, ...] = ()  # keys that a variable was to be made of, and cannot


def contents_of(document: ConfigMap | Secret) -> Contents:
    """What a ConfigMap or a Secret holds."""
    if isinstance(document, ConfigMap):
        texts = _as_bytes(document.data)
        return _contents({**texts, **document.binary}, texts)
    files = {**document.data, **_as_bytes(document.text)}
    return _contents(files, files)


def _as_bytes(texts: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in texts.items()}


def _contents(files: Mapping[str, bytes], texts: Mapping[str, bytes]) -> Contents:
    variables = {name: text for name, data in texts.items() if (text := _text(data)) is not None}
    return Contents(files, variables, tuple(sorted(texts.keys() - variables.keys())))


def _text(data: bytes) -> str | None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if "\0" not in text and VALUE.matches(text) else None
