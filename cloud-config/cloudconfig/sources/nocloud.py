"""NoCloud's files: user-data and meta-data, both there, and perhaps network-config.

They are described in cloud-init's documentation, "NoCloud".
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudconfig.sources import base, values
from cloudconfig.sources.base import DOCUMENT_LIMIT, METADATA_LIMIT, Offer, Reader, SourceError
from cloudconfig.sources.values import Checked
from updater.errors import InputError

# Keys of meta-data that cloud-init heeds and this host does not, and what to do instead.
_INSTEAD = {
    "network-interfaces": "write a network-config, version 1 or 2",
    "seedfrom": "give the URL by `ds=nocloud;s=` on the kernel's command line",
}


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody said beside the files; it goes before what is in them."""

    instance_id: str = ""
    hostname: str = ""


def offer(source: str, read: Reader, given: Given = Given()) -> Offer:
    """What the files say.

    Raises:
        SourceError: one of the two is missing, or they are not what they should be.
    """
    user_data = read("user-data", DOCUMENT_LIMIT)
    meta_data = read("meta-data", METADATA_LIMIT)
    for name, data in (("user-data", user_data), ("meta-data", meta_data)):
        if data is None:
            raise SourceError(f"{name} is missing: NoCloud needs user-data and meta-data")
    metadata = _mapping(meta_data or b"", Path(source) / "meta-data")
    checked = Checked()
    checked.warnings += [
        f"meta-data: {key} is not used: {instead}"
        for key, instead in _INSTEAD.items()
        if key in metadata
    ]
    if base.document(read("vendor-data", DOCUMENT_LIMIT)):
        checked.warnings.append("vendor-data is not used: user-data is the whole configuration")
    return Offer(
        source=source,
        file=Path(source) / "user-data",
        document=base.document(user_data),
        instance_id=values.instance_id(given.instance_id or metadata.get("instance-id")),
        hostname=checked.hostname(
            given.hostname or metadata.get("local-hostname") or metadata.get("hostname")
        ),
        public_keys=checked.public_keys(_keys(metadata.get("public-keys"))),
        network=base.document(read("network-config", METADATA_LIMIT)),
        variables=checked.variables(
            {
                "public_ipv4": metadata.get("public-ipv4"),
                "private_ipv4": metadata.get("local-ipv4"),
                "public_ipv6": metadata.get("public-ipv6"),
                "private_ipv6": metadata.get("local-ipv6"),
            }
        ),
        warnings=tuple(checked.warnings),
    )


def _mapping(data: bytes, file: Path) -> dict[str, Any]:
    """A YAML mapping by its keys; all scalars are texts, as they are written."""
    lines = (line.strip() for line in data.splitlines())
    if not any(line and not line.startswith(b"#") and line != b"---" for line in lines):
        return {}
    # It brings PyYAML, which takes long to import and which most sources do without.
    from hostkit.document import source  # noqa: PLC0415

    try:
        node = source.parse(source.decode(data, file), file)
    except InputError as error:
        raise SourceError(str(error)) from None
    plain = _plain(node)
    if not isinstance(plain, dict):
        raise SourceError(f"{file}: expected a mapping such as `instance-id: web-1`")
    return {key.replace("_", "-"): value for key, value in plain.items()}


def _plain(node: Any) -> Any:  # noqa: ANN401 - a tree of YAML, its module is not imported yet
    if hasattr(node, "text"):
        return None if node.kind.name == "NULL" else node.text
    if hasattr(node, "items"):
        return [_plain(item) for item in node.items]
    return {entry.key.text: _plain(entry.value) for entry in node.entries}


def _keys(given: object) -> list[object]:
    """Public keys as people write them: one text, a list, or a mapping by name."""
    if given is None:
        return []
    if isinstance(given, dict):
        # EC2's form, too: {name: [key, ...]} and {name: {openssh-key: key}}.
        return [key for value in given.values() for key in _keys(value)]
    return given if isinstance(given, list) else [given]
