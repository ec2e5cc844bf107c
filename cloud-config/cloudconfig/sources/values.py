"""What metadata says of a machine, none of it believed before it is looked at."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from cloudconfig.sources.base import SourceError

# Printable and without spaces: it becomes part of file names and of URLs.
_INSTANCE_ID = re.compile(r"(?!\.{1,2}\Z)[!-.0-~]{1,128}")
_HOSTNAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?"
    r"(\.[A-Za-z0-9]([A-Za-z0-9\-]{0,61}[A-Za-z0-9])?)*"
)
# The comment as what it is not: a class of all that it may be takes a small host 50 ms to compile.
_SSH_KEY = re.compile(r"[a-z0-9@.\-]{1,64} [A-Za-z0-9+/=]{16,8192}( [^\x00-\x1f\x7f-\x9f]*)?")
_HOSTNAME_LIMIT = 64  # characters, HOST_NAME_MAX of gethostname(2)
_KEYS_LIMIT = 64


def text(data: bytes, name: str) -> str:
    """A short answer of a metadata server.

    Raises:
        SourceError: it is not ASCII.
    """
    try:
        return data.decode("ascii").strip()
    except UnicodeDecodeError:
        raise SourceError(f"{name}: not the plain text that was expected") from None


def json_object(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object; what its values are is yet to be checked.

    Raises:
        SourceError: it is no JSON, or no object.
    """
    import json  # noqa: PLC0415 - most sources have none

    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise SourceError(f"{name}: expected a JSON object")
    return value


def instance_id(value: object) -> str:
    """The name of an instance, "" if there is none.

    Raises:
        SourceError: it is too long, or has characters that no cloud uses.
    """
    if value is None or value == "":
        return ""
    given = str(value) if isinstance(value, int) else value
    if not isinstance(given, str) or not _INSTANCE_ID.fullmatch(given):
        raise SourceError(
            f"the instance id {_shown(value)} is none: expected at most 128 printable characters"
            " without spaces and slashes"
        )
    return given


class Checked:
    """Takes what is right, and keeps a warning for each thing that is not."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def hostname(self, value: object) -> str:
        """A host's name, its first label if it is too long for the kernel; "" if it is none."""
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not _HOSTNAME.fullmatch(value):
            self.warnings.append(f"the host name {_shown(value)} is none and not used")
            return ""
        return value if len(value) <= _HOSTNAME_LIMIT else value.split(".")[0]

    def public_keys(self, values: Iterable[object]) -> tuple[str, ...]:
        """Public SSH keys, each once."""
        keys: dict[str, None] = {}
        wrong = 0
        for value in values:
            lines = value.splitlines() if isinstance(value, str) else [""]
            # A key that is not one is never shown: it may be a private one.
            wrong += not isinstance(value, str)
            for line in map(str.strip, lines):
                if _SSH_KEY.fullmatch(line):
                    keys[line] = None
                elif line and not line.startswith("#"):
                    wrong += 1
        if wrong:
            self.warnings.append(f"{wrong} lines of the public SSH keys are no keys, and not used")
        if len(keys) > _KEYS_LIMIT:
            self.warnings.append(f"of {len(keys)} SSH keys the first {_KEYS_LIMIT} are used")
        return tuple(keys)[:_KEYS_LIMIT]

    def variables(self, values: Mapping[str, object]) -> dict[str, str]:
        """Addresses by the name of their variable; those that are missing or wrong are left out."""
        found = {}
        for name, value in values.items():
            if value is None or value == "":
                continue
            if is_address(value, 4 if name.endswith("4") else 6):
                found[name] = str(value)
            else:
                self.warnings.append(f"the address {_shown(value)} of ${name} is none, not used")
        return found


def is_address(value: object, version: int) -> bool:
    """Whether it is the text of an address of that version of IP."""
    import ipaddress  # noqa: PLC0415 - slow to import, and most sources have no addresses

    try:
        # An int would be an address, too. Zones ("%eth0") are of a machine, not of a cloud.
        return (
            isinstance(value, str)
            and "%" not in value
            and ipaddress.ip_address(value).version == version
        )
    except ValueError:
        return False


def ipv6_variables(value: object) -> dict[str, object]:
    """An IPv6 address under the variable that its range makes it: fc00::/7 is private."""
    private = isinstance(value, str) and value[:2].lower() in {"fc", "fd"}
    return {"private_ipv6" if private else "public_ipv6": value}


def _shown(value: object) -> str:
    """A value as a message quotes it: one line, printable, not endless."""
    given = ascii(value)
    return given if len(given) <= 60 else given[:57] + "..."
