"""`bedplate.update`, and CoreOS's words for it: the updater's own file."""

import json
from pathlib import Path, PurePosixPath

from cloudconfig.desired import Affects, Desired, File
from cloudconfig.facts import Facts
from cloudconfig.model.top import CloudConfig
from cloudconfig.model.updates import settings
from cloudconfig.render.errors import RenderError
from hostkit.document.schema import Fault

_PATH = PurePosixPath("/etc/bedplate/update.json")


def render(config: CloudConfig, _facts: Facts) -> Desired:
    """The file, with what `updater.config` reads: texts, lists of texts, a mapping.

    Raises:
        RenderError: the updater would not take it.
    """
    said = settings(config.coreos, config.bedplate)
    if not said:
        return Desired()
    told = {name: each.value for name, each in said.items()}
    content = json.dumps(told, indent=2, sort_keys=True).encode() + b"\n"
    _check(content)
    # A URL may hold a password.
    secret = any("@" in str(told.get(name)) for name in ("server", "proxy"))
    file = File(
        _PATH,
        content,
        mode=0o600 if secret else 0o644,
        affects=(Affects("bedplate-updated.service"),),
        secret=secret,
    )
    return Desired(items=(file,))


def _check(content: bytes) -> None:
    """The updater's own reader has the last word; the image's defaults fill what is missing."""
    # Only here: it is slow to import, and many documents say nothing of updates.
    from updater.config import (  # noqa: PLC0415
        ConfigError,
        Fragment,
        merge,
        parse_fragment,
        validate,
    )

    image = Fragment(Path("image"), {"server": "https://updates.invalid", "channel": "stable"})
    try:
        validate(merge(image, parse_fragment(content, Path("bedplate.update"))))
    except ConfigError as error:
        # Without the value, which may hold a password.
        message = str(error).partition(", got ")[0]
        raise RenderError(Fault(message, ("bedplate", "update"))) from None
