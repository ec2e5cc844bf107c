"""`bedplate.network` as files of systemd-networkd and udev.

One `.network` for every interface, a `.netdev` for what is made, a `.link` for what udev does to
cards. What nobody names stays with the image's own 80-dhcp.network.
"""

from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Desired, File, Reaction
from cloudconfig.model.network import Network
from cloudconfig.model.network_devices import Ethernet
from cloudconfig.render.network_interface import interface_file, link_file
from cloudconfig.render.network_made import has_keys, made_file
from cloudconfig.render.network_text import Section, as_text
from cloudconfig.render.network_ties import ties

FOLDER = PurePosixPath("/etc/systemd/network")
NETWORKD = Affects("systemd-networkd.service", Reaction.RELOAD)
# A `.link` is read by udev when it sees a card, which it has by the time that there are documents.
LINKS = Affects("bedplate-links.service", Reaction.START)


def render(network: Network) -> Desired:
    """The files of all interfaces; those with a key are for networkd alone."""
    tied = ties(network)
    files = []
    for _, name, device in network.devices:
        secret = has_keys(device)
        files += [
            _file(name, "netdev", made_file(name, device), secret=secret),
            _file(name, "network", interface_file(name, device, tied[name])),
        ]
        if isinstance(device, Ethernet):
            files.append(_file(name, "link", link_file(name, device)))
    return Desired(items=tuple(file for file in files if file.content))


def _file(name: str, kind: str, sections: list[Section], *, secret: bool = False) -> File:
    return File(
        path=FOLDER / f"10-bedplate-{name}.{kind}",
        content=as_text(sections).encode(),
        mode=0o640 if secret else 0o644,
        group="systemd-network" if secret else "root",
        affects=(LINKS if kind == "link" else NETWORKD,),
        secret=secret,
    )
