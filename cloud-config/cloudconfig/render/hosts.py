"""`hostname`, `fqdn`, `manage_etc_hosts`."""

from pathlib import PurePosixPath

from cloudconfig.desired import Affects, Desired, File, Reaction
from cloudconfig.facts import Facts
from cloudconfig.model.machine import ManageHosts
from cloudconfig.model.top import CloudConfig

_HOSTNAME = PurePosixPath("/etc/hostname")
_HOSTS = PurePosixPath("/etc/hosts")
_LOCAL = ("127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback")


def render(config: CloudConfig, facts: Facts) -> Desired:
    """The host's name, and what `/etc/hosts` says; the source's word counts where ours is none."""
    fqdn, name = _whole_name(config, facts), name_of(config, facts)
    short = (config.hostname or fqdn).partition(".")[0]
    items = []
    if name:
        # Whoever sends the name with DHCP reads it anew.
        networkd = Affects("systemd-networkd.service", Reaction.RELOAD)
        items.append(File(_HOSTNAME, f"{name}\n".encode(), affects=(networkd,)))
    if config.manage_etc_hosts is ManageHosts.TRUE and name:
        lines = (*_LOCAL, f"127.0.1.1 {_names(fqdn, short)}")
        items.append(File(_HOSTS, ("\n".join(lines) + "\n").encode()))
    if config.manage_etc_hosts is ManageHosts.LOCALHOST and name:
        # CoreOS's only mode: the host's own name is another of the loopback's.
        text = f"127.0.0.1 localhost {_names(fqdn, short)}\n{_LOCAL[1]}\n"
        items.append(File(_HOSTS, text.encode()))
    return Desired(items=tuple(items))


def name_of(config: CloudConfig, facts: Facts) -> str:
    """What the host calls itself; nothing if nobody says."""
    fqdn = _whole_name(config, facts)
    if config.prefer_fqdn_over_hostname:
        return fqdn
    return config.hostname or fqdn.partition(".")[0]


def _whole_name(config: CloudConfig, facts: Facts) -> str:
    return config.fqdn or config.hostname or facts.hostname


def _names(fqdn: str, short: str) -> str:
    return fqdn if fqdn == short else f"{fqdn} {short}"
