# ruff: noqa: RUF009 (`key` declares a field, as dataclasses.field does)
"""A whole `#cloud-config`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudconfig.kinds import BOOLEAN, HOSTNAME, TEXT
from cloudconfig.model import lock, updates
from cloudconfig.model.bedplate import BEDPLATE, Bedplate
from cloudconfig.model.coreos import COREOS, Coreos
from cloudconfig.model.files import WRITE_FILES, WriteFile
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
from cloudconfig.model.users import GROUPS, SSH_KEY, USERS, User
from hostkit.document.kinds import Choice, Text
from hostkit.document.schema import Fault, Later, ListOf, Section, key

if TYPE_CHECKING:
    from cloudconfig.model.mounts import Mount
    from cloudconfig.model.storage import DiskLayout, FileSystem, Swap

_NO_PACKAGES = "there is no package manager: run it as a pod, or add a system extension"
_NO_SCRIPTS = "there is no shell: write a unit (coreos.units) that starts a program, or a pod"
_NO_LOGIN = "this host has no login"
_BUILT_IN = "a Bedplate host does so by itself"
_ONE_DOCUMENT = "one document is the whole configuration; nothing is merged"
_FIXED_ORDER = "sources are tried in a fixed order, see docs/cloud-config-sources.md"


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
    mounts: "tuple[Mount, ...]" = key(
        Later("cloudconfig.model.mounts", "MOUNTS"), "Lines of fstab(5), as lists.", default=()
    )
    swap: "Swap | None" = key(
        Later("cloudconfig.model.storage", "SWAP"), "A swap file.", default=None
    )
    disk_setup: "Mapping[str, DiskLayout]" = key(
        Later("cloudconfig.model.storage", "DISK_SETUP"),
        "Partitions of further disks.",
        default={},
    )
    fs_setup: "tuple[FileSystem, ...]" = key(
        Later("cloudconfig.model.storage", "FS_SETUP"), "File systems on them.", default=()
    )
    power_state: PowerState | None = key(
        POWER_STATE, "What to do once all is applied, on an instance's first boot.", default=None
    )
    final_message: str | None = key(
        TEXT,
        "Said in the journal once all is applied; $uptime, $timestamp, $datasource, $version.",
        default=None,
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
    **dict.fromkeys(
        ("apt_update", "apt_upgrade", "apt_reboot_if_required", "apk_repos"),
        _NO_PACKAGES,
    ),
    **dict.fromkeys(("apt_sources", "apt_mirror", "apt_proxy"), _NO_PACKAGES),
    **dict.fromkeys(("ansible", "chef", "puppet", "salt_minion", "landscape"), _NO_PACKAGES),
    **dict.fromkeys(("mcollective", "spacewalk", "rh_subscription", "fan"), _NO_PACKAGES),
    **dict.fromkeys(("ubuntu_advantage", "yum_repo_dir", "autoinstall"), _NO_PACKAGES),
    **dict.fromkeys(("runcmd", "bootcmd", "scripts", "cloud_final_modules"), _NO_SCRIPTS),
    **dict.fromkeys(("cloud_init_modules", "cloud_config_modules"), _NO_SCRIPTS),
    **dict.fromkeys(("chpasswd", "ssh_import_id", "ssh_keys", "user", "rpi_userconf"), _NO_LOGIN),
    "network": "in a cloud-config it stands in bedplate.network, with the same words",
    "rsyslog": "run a pod that reads the journal",
    "reporting": "phone_home tells a server of an instance's first boot, and metrics tell the rest",
    "lxd": "containers here are pods: bedplate.pods",
    "wireguard": "write its configuration with bedplate.network",
    **dict.fromkeys(("merge_how", "merge_type", "launch_index"), _ONE_DOCUMENT),
    **dict.fromkeys(("locale", "locale_configfile"), "this host speaks to machines, in C.UTF-8"),
    "keyboard": "this host has no login",
    "random_seed": "the seed is kept by systemd-random-seed",
    "device_aliases": "name the device itself in disk_setup and fs_setup",
    "mount_default_fields": "give each line of mounts its own fields",
    "resolv_conf": "name servers stand in bedplate.network",
    "manage_resolv_conf": "name servers stand in bedplate.network",
    "disable_ec2_metadata": "this host asks for its document at every boot; give it by a disk",
    "drivers": "a system extension brings kernel modules; bedplate.modules loads them",
    **dict.fromkeys(("enable_rpi_connect", "rpi_interfaces"), "this host is no Raspberry Pi"),
}
IGNORED = {
    **dict.fromkeys(("growpart", "resize_rootfs", "resizefs"), _BUILT_IN),
    **dict.fromkeys(("disable_root", "ssh_pwauth", "password", "disable_root_opts"), _NO_LOGIN),
    **dict.fromkeys(
        ("ssh_deletekeys", "ssh_genkeytypes", "ssh", "allow_public_ssh_keys"), _NO_LOGIN
    ),
    **dict.fromkeys(("no_ssh_fingerprints", "ssh_quiet_keygen", "ssh_publish_hostkeys"), _NO_LOGIN),
    **dict.fromkeys(("ssh_fp_console_blacklist", "ssh_key_console_blacklist"), _NO_LOGIN),
    **dict.fromkeys(("emit_keys_to_console", "authkey_hash", "byobu_by_default"), _NO_LOGIN),
    "disable_piwiz": _NO_LOGIN,
    **dict.fromkeys(("vendor_data", "vendor_data2"), _ONE_DOCUMENT),
    "output": "what is said goes to the journal",
    **dict.fromkeys(
        ("preserve_hostname", "create_hostname_file", "migrate", "updates"),
        "configuration is applied afresh at every boot",
    ),
    "datasource": _FIXED_ORDER,
    "datasource_list": _FIXED_ORDER,
    "system_info": "a Bedplate image is one and the same on every machine",
    "grub_dpkg": "there is no GRUB: the firmware starts systemd-boot",
    "version": "a document has one form",
}


def _problems(config: CloudConfig) -> Iterator[Fault]:
    """What one section needs of another, or says otherwise."""
    coreos, bedplate = config.coreos, config.bedplate
    yield from lock.missing_endpoints(bedplate.cluster, coreos.flannel)
    yield from lock.missing_etcd(coreos, bedplate)
    yield from updates.contradictions(coreos, bedplate)
    if config.fs_setup:
        from cloudconfig.model.storage import partition_problems  # noqa: PLC0415 - as Later does

        yield from partition_problems(config.fs_setup, config.disk_setup)


def _cautions(config: CloudConfig) -> Iterator[Fault]:
    """What one section takes the effect of from another."""
    yield from lock.cautions(config.coreos, config.bedplate)
    yield from updates.cautions(config.coreos)
    if config.prefer_fqdn_over_hostname and config.hostname and not config.fqdn:
        name = "prefer_fqdn_over_hostname"
        yield Fault(f"{name} does nothing beside hostname alone; give fqdn", (name,))


SCHEMA = Section(
    CloudConfig,
    refused=REFUSED,
    ignored=IGNORED,
    cautions=_cautions,
    problems=_problems,
)
