"""Amazon EC2's metadata server, version 2: each question carries a token.

Amazon EC2 User Guide, "Access instance metadata for an EC2 instance".
"""

import re
from pathlib import Path

from cloudconfig.sources import base, values, web
from cloudconfig.sources.base import (
    DOCUMENT_LIMIT,
    METADATA_LIMIT,
    Machine,
    Offer,
    Source,
    SourceError,
)
from cloudconfig.sources.values import Checked

_NAME = "ec2"
_TOKEN_SECONDS = "300"  # noqa: S105 - how long the token lasts, not what it is
_TOKEN = re.compile(r"[!-~]{1,1024}")
_KEYS_LIMIT = 16
_KEY_INDEX = re.compile(r"([0-9]{1,4})=.*")


def _present(machine: Machine) -> str:
    if machine.asks_for(_NAME):
        return "the kernel's command line says ds=ec2"
    if machine.dmi("sys_vendor") == "Amazon EC2":
        return "the firmware's sys_vendor is Amazon EC2"
    # On Xen, as cloud-init's ds-identify does it.
    uuid, serial = machine.dmi("product_uuid").lower(), machine.dmi("product_serial").lower()
    if uuid.startswith("ec2") and uuid == serial:
        return "the firmware's product_uuid and product_serial are of Amazon EC2"
    return ""


class _Server:
    """The metadata server, once it gave a token."""

    def __init__(self, machine: Machine) -> None:
        self._address = f"{machine.metadata}/latest/"
        self._session = web.Session()
        data = self._session.get(
            f"{self._address}api/token",
            METADATA_LIMIT,
            {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_SECONDS},
            method="PUT",
        )
        token = values.text(data or b"", "the token")
        if not _TOKEN.fullmatch(token):
            raise SourceError("the metadata server gives no token: it does not speak IMDSv2")
        self._headers = {"X-aws-ec2-metadata-token": token}

    def get(self, name: str, limit: int = METADATA_LIMIT) -> bytes | None:
        return self._session.get(self._address + name, limit, self._headers)

    def text(self, name: str) -> str:
        return values.text(self.get(f"meta-data/{name}") or b"", name)

    def keys(self) -> list[object]:
        """The list has a line `0=name` for each key."""
        lines = self.text("public-keys/").splitlines()[:_KEYS_LIMIT]
        indices = [match[1] for line in lines if (match := _KEY_INDEX.fullmatch(line.strip()))]
        return [self.text(f"public-keys/{index}/openssh-key") for index in indices]


def _look(machine: Machine) -> Offer | None:
    server = _Server(machine)
    checked = Checked()
    # With several domains in the DHCP options there are several names.
    names = server.text("local-hostname").split()
    addresses: dict[str, object] = {
        "public_ipv4": server.text("public-ipv4"),
        "private_ipv4": server.text("local-ipv4"),
        **values.ipv6_variables(server.text("ipv6")),
    }
    return Offer(
        source=_NAME,
        file=Path(_NAME) / "user-data",
        document=base.document(server.get("user-data", DOCUMENT_LIMIT)),
        instance_id=values.instance_id(server.text("instance-id")),
        hostname=checked.hostname(names[0] if names else ""),
        public_keys=checked.public_keys(server.keys()),
        variables=checked.variables(addresses),
        warnings=tuple(checked.warnings),
    )


SOURCE = Source(_NAME, _present, _look, needs_network=True)
