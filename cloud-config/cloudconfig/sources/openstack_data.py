"""OpenStack's files, which are alike on a config drive and from its metadata server.

They are described in OpenStack Nova's documentation, "Metadata".
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cloudconfig.sources import base, openstack_network, values
from cloudconfig.sources.base import DOCUMENT_LIMIT, METADATA_LIMIT, Offer, Reader, SourceError
from cloudconfig.sources.values import Checked

_FOLDER = "openstack/latest/"


def offer(source: str, read: Reader) -> Offer:
    """What the files say; addresses are not among them.

    Raises:
        SourceError: meta_data.json is missing, or they are not what they should be.
    """
    meta_data = read(f"{_FOLDER}meta_data.json", METADATA_LIMIT)
    if meta_data is None:
        raise SourceError(f"{_FOLDER}meta_data.json is missing")
    metadata = values.json_object(meta_data, "meta_data.json")
    checked = Checked()
    keys = metadata.get("public_keys") or {}
    network = read(f"{_FOLDER}network_data.json", METADATA_LIMIT)
    return Offer(
        source=source,
        file=Path(source) / "user_data",
        document=base.document(read(f"{_FOLDER}user_data", DOCUMENT_LIMIT)),
        instance_id=values.instance_id(metadata.get("uuid")),
        hostname=checked.hostname(metadata.get("hostname")),
        public_keys=checked.public_keys(keys.values() if isinstance(keys, dict) else [keys]),
        network=openstack_network.translate(network, checked.warnings) if network else None,
        warnings=tuple(checked.warnings),
    )


def with_addresses(offered: Offer, addresses: Mapping[str, object]) -> Offer:
    """The same, with variables added."""
    checked = Checked()
    variables = checked.variables(addresses)
    return replace(offered, variables=variables, warnings=(*offered.warnings, *checked.warnings))
