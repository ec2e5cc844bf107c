"""Every key that CoreOS knew (coreos-cloudinit, config/*.go) works, or is told what to use."""

from enum import Enum
from pathlib import PurePosixPath

import pytest

from cloudconfig.document import Document
from cloudconfig.model.coreos import DropIn
from config_oracle import outcome
from hostkit.document.source import DocumentError

LOCKS = "update: {reboot_strategy: etcd-lock}"
# What stands around a key, with the path to the value in the configuration.
SECTIONS = {
    "": ("{%s}", ""),
    "users": ("{users: [{name: web, %s}]}", "users.0"),
    "write_files": ("{write_files: [{path: /etc/a, %s}]}", "write_files.0"),
    "units": ("{coreos: {units: [{name: a.service, %s}]}}", "coreos.units.0"),
    "coreos": ("{coreos: {%s}}", "coreos"),
    "update": ("{coreos: {update: {%s}}}", "coreos.update"),
    "flannel": ("{coreos: {flannel: {%s}}}", "coreos.flannel"),
    "fetched": (
        "{write_files: [{path: /etc/a, source: {uri: 'https://a', sha256: '"
        + "0" * 64
        + "'}, %s}]}",
        "write_files.0",
    ),
    "locksmith": (
        f"{{coreos: {{{LOCKS}, flannel: {{etcd_endpoints: 'http://a'}}, locksmith: {{%s}}}}}}",
        "coreos.locksmith",
    ),
    # Either end of the window goes with the other.
    "start": ("{coreos: {locksmith: {window_length: 1h, %s}}}", "coreos.locksmith"),
    "length": ("{coreos: {locksmith: {window_start: 04:00, %s}}}", "coreos.locksmith"),
    # And what is said of etcd with what goes with it.
    "lock_strategy": (
        "{coreos: {locksmith: {endpoint: 'http://a'}, update: {%s}}}",
        "coreos.update",
    ),
    **{
        f"lock_{given}": (
            f"{{coreos: {{{LOCKS}, locksmith: {{endpoint: 'http://a', {other}%s}}}}}}",
            "coreos.locksmith",
        )
        for given, other in (
            ("ca", ""),
            ("cert", "etcd_keyfile: /k, "),
            ("key", "etcd_certfile: /c, "),
            ("user", "etcd_password: a, "),
            ("password", "etcd_username: a, "),
        )
    },
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== a"
ENCODINGS = ["base64", "b64", "gz", "gzip", "gz+base64", "gzip+base64", "gz+b64", "gzip+b64"]
COMMANDS = [
    "start",
    "stop",
    "restart",
    "reload",
    "try-restart",
    "reload-or-restart",
    "reload-or-try-restart",
]

# Section, key, how it is written, and what it is then.
WORKS: list[tuple[str, str, str, object]] = [
    ("", "ssh_authorized_keys", f"['{KEY}']", (KEY,)),
    ("", "hostname", "web-1", "web-1"),
    ("", "manage_etc_hosts", "localhost", "localhost"),
    ("users", "gecos", "A web server", "A web server"),
    ("users", "homedir", "/var/lib/web", "/var/lib/web"),
    ("users", "primary_group", "www", "www"),
    ("users", "groups", "[a, b]", ("a", "b")),
    ("users", "ssh_authorized_keys", f"['{KEY}']", (KEY,)),
    ("users", "no_create_home", "true", True),
    ("users", "no_user_group", "true", True),
    ("users", "system", "yes", True),
    ("users", "no_log_init", "on", True),
    ("write_files", "content", "off", "off"),
    ("write_files", "owner", "core", "core"),
    *(("write_files", "permissions", text, 0o744) for text in ("0744", "744", "'0744'")),
    *(("fetched", "encoding", name, name) for name in ENCODINGS),
    ("units", "content", "'[Service]'", "[Service]"),
    *(("units", key, word, True) for key in ("mask", "enable") for word in ("true", "1")),
    *(("units", "command", name, name) for name in COMMANDS),
    ("units", "drop_ins", "[{name: a.conf, content: x}]", (DropIn("a.conf", "x"),)),
    *(("update", "reboot_strategy", name, name) for name in ("best-effort", "reboot", "off")),
    ("update", "group", "stable", "stable"),
    ("update", "server", "https://a.example/b", "https://a.example/b"),
    ("flannel", "etcd_endpoints", "'http://a:4001,http://b:4001'", "http://a:4001,http://b:4001"),
    *(
        ("flannel", key, "/etc/a.pem", PurePosixPath("/etc/a.pem"))
        for key in ("etcd_cafile", "etcd_certfile", "etcd_keyfile", "subnet_file")
    ),
    ("flannel", "etcd_prefix", "/flannel", "/flannel"),
    ("flannel", "etcd_username", "a", "a"),
    ("flannel", "etcd_password", "1234", "1234"),
    ("flannel", "ip_masq", "true", True),
    ("flannel", "interface", "eth0", "eth0"),
    ("flannel", "public_ip", "192.0.2.1", "192.0.2.1"),
    ("locksmith", "endpoint", "'http://a:4001'", "http://a:4001"),
    *(
        (f"lock_{short}", f"etcd_{short}file", "/etc/a.pem", "/etc/a.pem")
        for short in ("ca", "cert", "key")
    ),
    ("lock_user", "etcd_username", "a", "a"),
    ("lock_password", "etcd_password", "no", "no"),
    ("lock_strategy", "reboot_strategy", "etcd-lock", "etcd-lock"),
    ("locksmith", "group", "web", "web"),
    ("start", "window_start", "14:00", "14:00"),
    ("start", "window_start", "Thu 04:00", "Thu 04:00"),
    ("length", "window_length", "1h30m", 5400.0),
]
# Section, key, and a word of what to use or why it does nothing.
WARNED_OF = [
    ("users", "passwd", "no login"),
    ("users", "shell", "no login"),
    ("units", "runtime", "no configuration outlives a boot"),
    ("coreos", "oem", "one and the same"),
]
REFUSED = [
    ("users", "coreos_ssh_import_github", "ssh_authorized_keys"),
    ("users", "coreos_ssh_import_github_users", "ssh_authorized_keys"),
    ("users", "coreos_ssh_import_url", "ssh_authorized_keys"),
    ("coreos", "etcd", "bedplate.etcd"),
    ("coreos", "etcd2", "bedplate.etcd"),
    ("coreos", "fleet", "bedplate.pods"),
]
spellings = pytest.mark.parametrize("sign", ["_", "-"])


def read(section: str, text: str) -> Document | DocumentError:
    return outcome(f"#cloud-config\n{SECTIONS[section][0] % text}".encode())


def value_of(document: Document, section: str, key: str) -> object:
    found: object = document.config
    for part in f"{SECTIONS[section][1]}.{key}".strip(".").split("."):
        found = found[int(part)] if isinstance(found, tuple) else getattr(found, part)
    if isinstance(found, str | int | float | tuple | PurePosixPath):
        return found
    assert isinstance(found, Enum)
    return found.value


@spellings
@pytest.mark.parametrize(("section", "key", "text", "expected"), WORKS)
def test_a_key_works(section: str, key: str, text: str, expected: object, sign: str) -> None:
    found = read(section, f"{key.replace('_', sign)}: {text}")
    assert isinstance(found, Document), str(found)
    assert found.warnings == ()
    assert value_of(found, section, key) == expected


@spellings
@pytest.mark.parametrize(("section", "key", "words"), WARNED_OF)
def test_a_key_does_nothing_with_a_warning(section: str, key: str, words: str, sign: str) -> None:
    found = read(section, f"{key.replace('_', sign)}: x")
    assert isinstance(found, Document), str(found)
    (warning,) = found.warnings
    assert warning.message.startswith(f"'{key}' does nothing here: ")
    assert words in warning.message


@spellings
@pytest.mark.parametrize(("section", "key", "words"), REFUSED)
def test_a_key_is_refused_with_what_to_use(section: str, key: str, words: str, sign: str) -> None:
    found = read(section, f"{key.replace('_', sign)}: x")
    assert isinstance(found, DocumentError)
    (problem,) = found.problems
    assert problem.message.startswith(f"'{key}' is not supported: ")
    assert words in problem.message


# What cloud-init knows besides, and needs what is not here.
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("packages", "run it as a pod, or add a system extension"),
        ("package_update", "run it as a pod"),
        ("apt", "run it as a pod"),
        ("runcmd", "write a unit"),
        ("bootcmd", "write a unit"),
        ("chpasswd", "no login"),
        ("network", "bedplate.network"),
        ("merge_how", "nothing is merged"),
        *((key, "run it as a pod") for key in ("apk_repos", "apt_upgrade", "apt_sources")),
        *((key, "run it as a pod") for key in ("ubuntu_advantage", "mcollective", "spacewalk")),
        ("mount_default_fields", "its own fields"),
        ("drivers", "bedplate.modules loads them"),
        ("disable_ec2_metadata", "give it by a disk"),
        ("reporting", "phone_home"),
    ],
)
def test_cloud_init_s_keys_are_refused_with_what_to_use(key: str, words: str) -> None:
    found = read("", f"{key}: x")
    assert isinstance(found, DocumentError)
    assert words in found.problems[0].message


@pytest.mark.parametrize(
    "key",
    [
        *("growpart", "ssh_pwauth", "preserve_hostname", "disable_root", "grub-dpkg"),
        *("byobu_by_default", "ssh_key_console_blacklist", "emit_keys_to_console", "vendor_data"),
    ],
)
def test_cloud_init_s_keys_do_nothing_with_a_warning(key: str) -> None:
    found = read("", f"{key}: x")
    assert isinstance(found, Document)
    assert len(found.warnings) == 1


# All of its schema, cloudinit/config/schemas/schema-cloud-config-v1.json, "properties".
CLOUD_INIT = """
allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update
apt_upgrade authkey_hash autoinstall bootcmd byobu_by_default ca-certs ca_certs chef chpasswd
cloud_config_modules cloud_final_modules cloud_init_modules create_hostname_file device_aliases
disable_ec2_metadata disable_piwiz disable_root disable_root_opts disk_setup drivers
enable_rpi_connect fan final_message fqdn fs_setup groups growpart grub-dpkg grub_dpkg hostname
keyboard landscape launch-index locale locale_configfile lxd manage_etc_hosts manage_resolv_conf
mcollective merge_how merge_type migrate mount_default_fields mounts no_ssh_fingerprints ntp output
package_reboot_if_required package_update package_upgrade packages password phone_home power_state
prefer_fqdn_over_hostname preserve_hostname puppet random_seed reporting resize_rootfs resolv_conf
rh_subscription rpi_interfaces rpi_userconf rsyslog runcmd salt_minion snap spacewalk ssh
ssh_authorized_keys ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id
ssh_key_console_blacklist ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen swap
system_info timezone ubuntu_advantage ubuntu_pro updates user users vendor_data version wireguard
write_files yum_repo_dir yum_repos zypper
"""


@pytest.mark.parametrize("key", CLOUD_INIT.split())
def test_no_key_of_cloud_init_s_is_unknown(key: str) -> None:
    found = read("", f"{key}: x")
    problems = found.problems if isinstance(found, DocumentError) else ()
    assert not any("unknown key" in each.message for each in problems)
