"""OpenStack's metadata server."""

from cloudconfig.sources import config_drive, values, web
from cloudconfig.sources.base import METADATA_LIMIT, Machine, Offer, Source

_NAME = "openstack"
# As cloud-init's ds-identify knows them: clouds that run OpenStack under a name of their own.
_ASSET_TAGS = frozenset({"OpenTelekomCloud", "SAP CCloud VM", "HUAWEICLOUD"})


def _present(machine: Machine) -> str:
    if machine.label(*config_drive.LABELS):
        return ""  # it says the same, and has been looked at
    if machine.asks_for(_NAME):
        return "the kernel's command line says ds=openstack"
    for name in ("product_name", "chassis_asset_tag"):
        value = machine.dmi(name)
        if value.startswith("OpenStack ") or value in _ASSET_TAGS:
            return f"the firmware's {name} is {value}"
    return ""


def _look(machine: Machine) -> Offer | None:
    # As in config_drive: few machines need it.
    from cloudconfig.sources import openstack_data  # noqa: PLC0415

    session = web.Session()

    def read(name: str, limit: int) -> bytes | None:
        return session.get(f"{machine.metadata}/{name}", limit)

    def address(name: str) -> str:
        # Only the part that is like EC2's knows of floating addresses.
        data = read(f"latest/meta-data/{name}", METADATA_LIMIT)
        return values.text(data or b"", name)

    offered = openstack_data.offer(_NAME, read)
    return openstack_data.with_addresses(
        offered,
        {"public_ipv4": address("public-ipv4"), "private_ipv4": address("local-ipv4")},
    )


SOURCE = Source(_NAME, _present, _look, needs_network=True)
