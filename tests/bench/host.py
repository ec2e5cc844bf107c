"""A build's host, booted twice by itself: no extension, nothing else on its processor.

It tells the figures on its console, by a unit of its cloud-config: there is no login to ask by.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import indent

from builder.vm.accelerator import accelerator
from builder.vm.config import MIB, MachineConfig
from builder.vm.machine import Machine
from builder.vm.uki import kernel_of
from builder.vm.wait import wait_until

from .figures import MB, Figure, Unit

_BOOT_SECONDS = 600
_UNITS = ("boot-complete.target", "bedplate-config.service")
# A unit that tells how a boot went, on the console.
TELLING = f"""\
[Unit]
After=boot-complete.target
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS0
ExecStart=/usr/bin/python3 -IS -c "print(open('/proc/meminfo').read())"
ExecStart=/usr/bin/systemctl show {" ".join(_UNITS)} --property=Id --property=CPUUsageNSec \\
  --property=InactiveExitTimestampMonotonic --property=ActiveEnterTimestampMonotonic
ExecStart=/usr/bin/python3 -IS -c "print('all', 'told')"
[Install]
WantedBy=multi-user.target
"""
_DOCUMENT = f"""\
#cloud-config
hostname: measured
coreos:
  units:
    - name: measured.service
      enable: true
      content: |
{indent(TELLING, " " * 8)}
"""
_END = "all told"

Told = Mapping[str, float]


def figures(build: Path, tree: Path, cache: Path, work: Path) -> list[Figure]:
    """Boot a build's image twice, on the processors that `bedplate run` gives it, and on one.

    Args:
        build: the folder of the build.
        tree: the tool tree, with QEMU.
        cache: where it is kept whether KVM works.
        work: a folder for the machines.

    Raises:
        WaitError: the host did not come up within ten minutes.
    """
    usual = replace(
        machine_of(build, tree, cache, work), credentials={"bedplate.cloud-config": _DOCUMENT}
    )
    single = replace(usual, folder=work / "single", cpus=1)
    return [*_figures(usual, tree), *_figures(single, tree)]


def machine_of(build: Path, tree: Path, cache: Path, work: Path) -> MachineConfig:
    """The machine that `bedplate run` makes for a build's image."""
    (image,) = build.glob("*.qcow2")
    kernel = work / "vmlinuz"
    kernel.write_bytes(kernel_of(build / "bedplate.efi"))
    return MachineConfig(
        folder=work / "machine",
        accelerator=accelerator(tree, kernel, cache),
        image=image,
        disk_size=6 << 30,
        memory=1024 * MIB,
    )


def booted_twice(config: MachineConfig, tree: Path) -> tuple[Told, Told]:
    """What a host that tells says of its first boot and of the next.

    Raises:
        WaitError: the host did not come up within ten minutes.
    """
    config.folder.mkdir()
    with Machine(config, tree) as machine:
        first = _told(config.console, 0)
        length = len(_text(config.console))
        machine.monitor.execute("system_reset")
        return first, _told(config.console, length)


def _figures(config: MachineConfig, tree: Path) -> list[Figure]:
    first, second = booted_twice(config, tree)
    note = f"alone, {config.accelerator.value}, 1 GiB"
    on = f"host, {config.cpus} CPU{'s' if config.cpus > 1 else ''}:"
    return [
        Figure(f"{on} kernel to boot-complete, first", first["boot"], Unit.SECONDS, 20, note),
        Figure(f"{on} kernel to boot-complete, later", second["boot"], Unit.SECONDS, 20, note),
        Figure(f"{on} bedplate-config, document new", first["config"], Unit.SECONDS, None, note),
        Figure(f"{on} bedplate-config, later", second["config"], Unit.SECONDS, None, note),
        Figure(f"{on} memory in use after boot", second["memory"], Unit.BYTES, 160 * MB, note),
    ]


def _text(console: Path) -> str:
    return console.read_text(errors="replace") if console.exists() else ""


def _told(console: Path, since: int) -> Told:
    """What the host tells on its console, from that character on."""

    def told() -> str | None:
        text = _text(console)[since:].replace("\r", "")
        return text if _END in text else None

    return read(wait_until(told, _BOOT_SECONDS, "what the host measured"))


def read(text: str) -> Told:
    """Seconds `boot`, `config` and `config_cpu`, bytes of `memory`, from what a host tells."""
    sizes = {key: int(size) * 1024 for key, size in re.findall(r"(Mem\w+): +(\d+) kB", text)}
    shown = [dict(re.findall(r"^(\w+)=(.*)$", part, re.MULTILINE)) for part in text.split("\n\n")]
    units = {part["Id"]: part for part in shown if "Id" in part}
    begins, ends = (
        {name: int(found[f"{edge}TimestampMonotonic"]) / 1e6 for name, found in units.items()}
        for edge in ("InactiveExit", "ActiveEnter")
    )
    boot, config = _UNITS
    return {
        "boot": ends[boot],
        "config": ends[config] - begins[config],
        "config_cpu": int(units[config]["CPUUsageNSec"]) / 1e9,
        "memory": sizes["MemTotal"] - sizes["MemAvailable"],
    }
