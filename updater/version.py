"""A release's version: one to four dotted integers, compared as numbers. And channels' names."""

import re
from dataclasses import dataclass
from typing import Self

from updater.errors import InputError

# How a channel may be called.
CHANNEL_PATTERN = "[a-z][a-z0-9-]{0,31}"
_PATTERN = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,3}")
# A GPT label holds 36 characters (UEFI 2.10, table 5.6) and ours is `bedplate_<version>`.
_MAXIMUM_LENGTH = 24


class VersionError(InputError):
    """A text is no version."""


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """`parts` are 1 to 4 non-negative integers; "1" sorts before "1.0"."""

    parts: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "2026.11.1".

        Raises:
            VersionError: leading zeros, signs, spaces, more than 4 parts or 24 characters.
        """
        if len(text) > _MAXIMUM_LENGTH or not text.isascii() or not _PATTERN.fullmatch(text):
            raise VersionError(
                f"{text[:40]!r} is no version: expected 1 to 4 dotted integers without leading "
                f"zeros, at most {_MAXIMUM_LENGTH} characters, such as 2026.11.1"
            )
        return cls(tuple(int(part) for part in text.split(".")))

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.parts)
