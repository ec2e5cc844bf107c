"""An agent's settings: a JSON object below /etc/bedplate, and in it how to reach etcd.

Each kind of value is read by a function that raises ValueError or TypeError; `Source.take` makes
an error for people of that.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar
from urllib.parse import urlsplit

from hostkit.etcd import Access
from updater.errors import InputError
from updater.strict import unique_keys

ETCD_KEYS = (
    *("etcd_endpoints", "etcd_cafile", "etcd_certfile", "etcd_keyfile"),
    *("etcd_username", "etcd_password"),
)
A_PATH = "an absolute path"
_MAXIMUM_LENGTH = 64 * 1024
_ENDPOINTS = ("http://127.0.0.1:2379",)
T = TypeVar("T")


class SettingsError(InputError):
    """The settings are wrong; the message names the file and the key."""


@dataclass(frozen=True, slots=True)
class Source:
    """The values as read, and the file they are from."""

    values: Mapping[str, object]
    path: Path

    @classmethod
    def of(cls, data: bytes, path: Path, known: Collection[str]) -> "Source":
        """The values of a settings file's text.

        Raises:
            SettingsError: no JSON object, or keys that are not known.
        """
        if len(data) > _MAXIMUM_LENGTH:
            raise SettingsError(f"{path}: more than the {_MAXIMUM_LENGTH} bytes allowed")
        try:
            document = json.loads(data, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise SettingsError(f"{path}: no valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise SettingsError(f"{path}: expected an object, got {type(document).__name__}")
        for key in document:
            if key not in known:
                names = ", ".join(sorted(known))
                raise SettingsError(f"{path}: unknown key {key!r}; known are {names}")
        return cls(document, path)

    def fail(self, key: str, expected: str) -> SettingsError:
        """An error about the value of `key`."""
        shown = "" if key == "etcd_password" else f", got {str(self.values.get(key))[:80]!r}"
        return SettingsError(f"{self.path}: {key}: expected {expected}{shown}")

    def take(self, key: str, read: Callable[[object], T], expected: str, default: T) -> T:
        """The value of `key`, read by a function that raises ValueError or TypeError.

        Raises:
            SettingsError: it is not as expected.
        """
        if key not in self.values:
            return default
        try:
            return read(self.values[key])
        except (TypeError, ValueError, OverflowError):
            raise self.fail(key, expected) from None


def read_settings(path: Path, writer: str) -> bytes:
    """A settings file's text; `writer` is the section of the cloud-config that makes it.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(_MAXIMUM_LENGTH + 1)
    except OSError as error:
        raise SettingsError(
            f"cannot read {path}: {error.strerror}; {writer} in the cloud-config writes it"
        ) from error


def etcd_access(source: Source, on_host: Callable[[PurePosixPath], Path]) -> Access:
    """How to reach etcd, of the values of `ETCD_KEYS`.

    Args:
        source: the values.
        on_host: where a path of the host's is.

    Raises:
        SettingsError: a wrong value, or half of a pair.
    """
    for one, other in (("etcd_certfile", "etcd_keyfile"), ("etcd_username", "etcd_password")):
        if (one in source.values) != (other in source.values):
            raise SettingsError(f"{source.path}: {one} and {other} belong together")

    def file(key: str) -> Path | None:
        found = source.take(key, as_path, A_PATH, None)
        return None if found is None else on_host(found)

    return Access(
        endpoints=source.take(
            "etcd_endpoints", _endpoints, "http:// or https:// URLs, with commas", _ENDPOINTS
        ),
        ca=file("etcd_cafile"),
        certificate=file("etcd_certfile"),
        key=file("etcd_keyfile"),
        username=source.take("etcd_username", as_text, "a name", None),
        password=source.take("etcd_password", as_text, "a text", None),
    )


def as_text(value: object) -> str:
    """A line of text that is not empty."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError
    return value


def as_path(value: object) -> PurePosixPath:
    """An absolute path of the host's."""
    found = PurePosixPath(as_text(value))
    if not found.is_absolute() or ".." in found.parts:
        raise ValueError
    return found


def _endpoints(value: object) -> tuple[str, ...]:
    # flannel takes blanks and a last comma; so do we.
    found = tuple(each.strip().rstrip("/") for each in as_text(value).split(",") if each.strip())
    for each in found:
        parts = urlsplit(each)
        # Reading the port is what checks it. A password would end in logs: it has its own key.
        plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
            raise ValueError
        if not plain:
            raise ValueError
    if not found:
        raise ValueError
    return found
