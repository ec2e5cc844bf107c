"""A channel file: which releases are promoted, to what part of the hosts, and from when."""

import hashlib
import itertools
from dataclasses import dataclass
from datetime import datetime

from updater.strict import Fields, FormatError, render_json, render_time
from updater.version import CHANNEL_PATTERN, Version

MAXIMUM_LENGTH = 64 * 1024
_MAXIMUM_RELEASES = 256
_MAXIMUM_WAVES = 32
_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Wave:
    """From `start` on, `percent` (0-100) of all hosts may take the release."""

    start: datetime
    percent: int


@dataclass(frozen=True, slots=True)
class Promotion:
    """One release in a channel; waves are in order of time and never shrink."""

    version: Version
    promoted: datetime
    waves: tuple[Wave, ...]

    def percent(self, now: datetime) -> int:
        """How many percent of the hosts may have this release at `now` (aware)."""
        return max((wave.percent for wave in self.waves if wave.start <= now), default=0)


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel's people have signed."""

    channel: str
    releases: tuple[Promotion, ...]

    def render(self) -> bytes:
        """The channel as canonical JSON; `parse` gives it back."""
        return render_json(
            {
                "schema": _SCHEMA,
                "channel": self.channel,
                "releases": [
                    {
                        "version": str(promotion.version),
                        "promoted": render_time(promotion.promoted),
                        "waves": [
                            {"start": render_time(wave.start), "percent": wave.percent}
                            for wave in promotion.waves
                        ],
                    }
                    for promotion in self.releases
                ],
            }
        )


def _promotion(fields: Fields) -> Promotion:
    waves = tuple(
        Wave(start=wave.time("start"), percent=wave.integer("percent", 0, 100))
        for wave in fields.items("waves", ("start", "percent"), 1, _MAXIMUM_WAVES)
    )
    for before, after in itertools.pairwise(waves):
        if after.start < before.start or after.percent < before.percent:
            raise FormatError(
                f"{fields.where}: waves: a wave starts before, or is smaller than, the one "
                "above it; list them in order of time, each at least as large"
            )
    return Promotion(fields.version("version"), fields.time("promoted"), waves)


def parse(data: bytes) -> Channel:
    """Read a channel file strictly.

    Raises:
        FormatError: an unknown, missing or double key, a wrong type, a version twice, waves out of
            order; the message says which key.
    """
    fields = Fields.parse(data, "channel file", ("schema", "channel", "releases"), MAXIMUM_LENGTH)
    fields.integer("schema", _SCHEMA, _SCHEMA)
    releases = tuple(
        _promotion(item)
        for item in fields.items("releases", ("version", "promoted", "waves"), 0, _MAXIMUM_RELEASES)
    )
    seen: set[Version] = set()
    for promotion in releases:
        if promotion.version in seen:
            raise FormatError(f"channel file: releases: version {promotion.version} is there twice")
        seen.add(promotion.version)
    return Channel(fields.text("channel", CHANNEL_PATTERN, "a name in lower case"), releases)


def place(machine_id: str, version: Version) -> int:
    """A host's place, 0-99, among the waves of a release; in a wave when below its percent.

    It depends on the version too, so that no host is always the first.
    """
    digest = hashlib.sha256(f"{machine_id}:{version}".encode()).digest()
    return int.from_bytes(digest, "big") % 100
