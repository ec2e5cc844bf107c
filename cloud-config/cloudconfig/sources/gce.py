"""Google Compute Engine's metadata server.

Google's documentation, "View and query VM metadata". It is asked by its address and not as
metadata.google.internal, so that no name server is needed.
"""

import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cloudconfig.sources import base, values, web
from cloudconfig.sources.base import Machine, Offer, Source, SourceError
from cloudconfig.sources.values import Checked

_NAME = "gce"
_FLAVOR = {"Metadata-Flavor": "Google"}
# All of it comes at once, user data too, and JSON and base64 make that longer.
_LIMIT = 3 * base.DOCUMENT_LIMIT


def _present(machine: Machine) -> str:
    if machine.asks_for(_NAME):
        return "the kernel's command line says ds=gce"
    product = machine.dmi("product_name")
    if product in {"Google Compute Engine", "Google"}:
        return f"the firmware's product_name is {product}"
    if machine.dmi("product_serial").startswith("GoogleCloud-"):
        return "the firmware's product_serial is of Google"
    return ""


def _look(machine: Machine) -> Offer | None:
    session = web.Session()

    def ask(name: str) -> dict[str, Any]:
        url = f"{machine.metadata}/computeMetadata/v1/{name}/?recursive=true&alt=json"
        data = session.get(url, _LIMIT, _FLAVOR, answers_with=_FLAVOR)
        return {} if data is None else values.json_object(data, name)

    instance = ask("instance")
    if "id" not in instance:
        raise SourceError("instance: the metadata server gives no instance id")
    attributes = _mapping(instance.get("attributes"))
    keys = list(_keys(attributes))
    if str(attributes.get("block-project-ssh-keys", "")).lower() != "true":
        keys += _keys(_mapping(_mapping(ask("project")).get("attributes")))
    checked = Checked()
    name = instance.get("hostname")
    return Offer(
        source=_NAME,
        file=Path(_NAME) / "user-data",
        document=base.document(_user_data(attributes)),
        instance_id=values.instance_id(instance["id"]),
        # The whole one has the zone and the project in it, and is often too long.
        hostname=checked.hostname(name.split(".")[0] if isinstance(name, str) else name),
        public_keys=checked.public_keys(keys),
        variables=checked.variables(_addresses(instance)),
        warnings=tuple(checked.warnings),
    )


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(value: object) -> Any:  # noqa: ANN401 - of JSON
    return value[0] if isinstance(value, list) and value else None


def _user_data(attributes: dict[str, Any]) -> bytes | None:
    given = attributes.get("user-data")
    if given is None:
        return None
    if not isinstance(given, str):
        raise SourceError("the attribute user-data is no text")
    encoding = attributes.get("user-data-encoding")
    if encoding == "base64":
        try:
            data = binascii.a2b_base64("".join(given.split()), strict_mode=True)
        except ValueError as error:
            raise SourceError(f"user-data: not base64, though it should be: {error}") from None
    elif encoding:
        raise SourceError(
            f"user-data-encoding is {ascii(encoding)[:40]}; expected base64, or none at all"
        )
    else:
        data = given.encode("utf-8", "surrogatepass")
    if len(data) > base.DOCUMENT_LIMIT:
        raise SourceError(f"user-data: longer than the {base.DOCUMENT_LIMIT} bytes it may have")
    return data


def _addresses(instance: dict[str, Any]) -> dict[str, object]:
    interface = _mapping(_first(instance.get("networkInterfaces")))
    access = _mapping(_first(interface.get("accessConfigs")))
    return {
        "public_ipv4": access.get("externalIp"),
        "private_ipv4": interface.get("ip"),
        **values.ipv6_variables(_first(interface.get("ipv6s"))),
    }


def _keys(attributes: dict[str, Any]) -> Iterator[str]:
    """Keys from lines of `user:key`.

    Those that expire are left out: what is there at boot is there until the next one.
    """
    for name in ("ssh-keys", "sshKeys"):
        given = attributes.get(name)
        for line in given.splitlines() if isinstance(given, str) else ():
            key = line.partition(":")[2].strip()
            if key and " google-ssh " not in f"{key} ":
                yield key


SOURCE = Source(_NAME, _present, _look, needs_network=True)
