# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""A whole `#cloud-config`."""

from collections.abc import Mapping
from dataclasses import dataclass

from cloudconfig.kinds import BOOLEAN, HOSTNAME, TEXT
from cloudconfig.model.bedplate import BEDPLATE, Bedplate
from cloudconfig.model.cluster import missing_endpoints
from cloudconfig.model.coreos import COREOS, Coreos
from cloudconfig.model.files import WRITE_FILES, WriteFile
from cloudconfig.model.lock import missing_etcd
from cloudconfig.model.machine import (
    CA_CERTS,
    NTP,
    PHONE_HOME,
    POWER_STATE,
    CaCerts,
    ManageHosts,
    Ntp,
    PhoneHome,
    PowerState,
)
from cloudconfig.model.mounts import MOUNTS, Mount
from cloudconfig.model.storage import (
    DISK_SETUP,
    FS_SETUP,
    SWAP,
    DiskLayout,
    FileSystem,
    Swap,
)
from cloudconfig.model.users import GROUPS, SSH_KEY, USERS, User
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import ListOf, Section, key

_NO_PACKAGES = "there is no package manager: run it as a pod, or add a system extension"
_NO_SCRIPTS = "there is no shell: write a unit (coreos.units) that starts a program, or a pod"
_NO_LOGIN = "this host has no login"
_BUILT_IN = "a Bedplate host does so by itself"


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """What a `#cloud-config` may say; every key may be left out."""

    hostname: str | None = key(HOSTNAME, "The host's name.", default=None)
    fqdn: str | None = key(HOSTNAME, "Its name with its domain.", default=None)
    prefer_fqdn_over_hostname: bool = key(BOOLEAN, "Call it by its whole name.", default=False)
    manage_etc_hosts: ManageHosts | None = key(
        Choice(ManageHosts), "Write `/etc/hosts`.", default=None
    )
    ssh_authorized_keys: tuple[str, ...] = key(
        ListOf(SSH_KEY), "Keys with which the developer extension lets in.", default=()
    )
    users: tuple[User | str, ...] = key(USERS, "Accounts that services run as.", default=())
    groups: tuple[str | Mapping[str, tuple[str, ...]], ...] = key(
        GROUPS, "Groups, and who is in them.", default=()
    )
    write_files: tuple[WriteFile, ...] = key(WRITE_FILES, "Files.", default=())
    timezone: str | None = key(
        Text("a time zone such as Europe/Berlin", r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+){0,2}"),
        "The zone that local times are told in.",
        default=None,
    )
    ntp: Ntp | None = key(NTP, "Time servers.", default=None)
    ca_certs: CaCerts | None = key(CA_CERTS, "Certificate authorities.", default=None)
    mounts: tuple[Mount, ...] = key(MOUNTS, "Lines of fstab(5), as lists.", default=())
    swap: Swap | None = key(SWAP, "A swap file.", default=None)
    disk_setup: Mapping[str, DiskLayout] = key(
        DISK_SETUP, "Partitions of further disks.", default={}
    )
    fs_setup: tuple[FileSystem, ...] = key(FS_SETUP, "File systems on them.", default=())
    power_state: PowerState | None = key(
        POWER_STATE, "What to do once all is applied, on an instance's first boot.", default=None
    )
    final_message: str | None = key(
        TEXT, "Said in the journal once all is applied; $uptime, $datasource.", default=None
    )
    phone_home: PhoneHome | None = key(
        PHONE_HOME, "Tell a server that this instance runs.", default=None
    )
    coreos: Coreos = key(COREOS, "CoreOS's own section.", default=Coreos())
    bedplate: Bedplate = key(BEDPLATE, "Bedplate's own section.", default=Bedplate())


# cloud-init's modules, https://docs.cloud-init.io/en/latest/reference/modules.html
REFUSED = {
    **dict.fromkeys(
        ("packages", "package_update", "package_upgrade", "package_reboot_if_required"),
        _NO_PACKAGES,
    ),
    **dict.fromkeys(
        ("apt", "apt_pipelining", "yum_repos", "zypper", "snap", "ubuntu_pro"), _NO_PACKAGES
    ),
    **dict.fromkeys(("ansible", "chef", "puppet", "salt_minion", "landscape"), _NO_PACKAGES),
    **dict.fromkeys(("runcmd", "bootcmd", "scripts", "cloud_final_modules"), _NO_SCRIPTS),
    **dict.fromkeys(("cloud_init_modules", "cloud_config_modules"), _NO_SCRIPTS),
    **dict.fromkeys(("chpasswd", "ssh_import_id", "ssh_keys", "user"), _NO_LOGIN),
    "network": "in a cloud-config it stands in bedplate.network, with the same words",
    "yum_repo_dir": _NO_PACKAGES,
    "rsyslog": "run a pod that reads the journal",
    "lxd": "containers here are pods: bedplate.pods",
    "wireguard": "write its configuration with bedplate.network",
    "merge_how": "one document is the whole configuration; nothing is merged",
    "merge_type": "one document is the whole configuration; nothing is merged",
    "locale": "this host speaks to machines, in C.UTF-8",
    "keyboard": "this host has no login",
    "random_seed": "the seed is kept by systemd-random-seed",
    "device_aliases": "name the device itself in disk_setup and fs_setup",
    "resolv_conf": "name servers stand in bedplate.network",
    "manage_resolv_conf": "name servers stand in bedplate.network",
}
IGNORED = {
    **dict.fromkeys(("growpart", "resize_rootfs", "resizefs"), _BUILT_IN),
    **dict.fromkeys(("disable_root", "ssh_pwauth", "password", "disable_root_opts"), _NO_LOGIN),
    **dict.fromkeys(
        ("ssh_deletekeys", "ssh_genkeytypes", "ssh", "allow_public_ssh_keys"), _NO_LOGIN
    ),
    **dict.fromkeys(("no_ssh_fingerprints", "ssh_quiet_keygen", "ssh_publish_hostkeys"), _NO_LOGIN),
    "output": "what is said goes to the journal",
    "preserve_hostname": "configuration is applied afresh at every boot",
    "datasource": "sources are tried in a fixed order; see the handbook",
    "datasource_list": "sources are tried in a fixed order; see the handbook",
    "system_info": "a Bedplate image is one and the same on every machine",
}


def _missing(config: CloudConfig) -> str | None:
    """What one section needs of another."""
    cluster = missing_endpoints(config.bedplate.cluster, config.coreos.flannel)
    return cluster or missing_etcd(config.coreos, config.bedplate)


SCHEMA = Section(
    CloudConfig,
    _missing,
    refused=REFUSED,
    ignored=IGNORED,
)
