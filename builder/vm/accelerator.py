"""Which accelerator works here: KVM is believed only after it has booted a real kernel.

There are machines whose /dev/kvm opens and creates a guest that then hangs on an instruction KVM
cannot emulate, so `-accel kvm:tcg` would pick KVM and never boot. A boot sector of our own may
well pass where Linux hangs; the probe is therefore a Linux kernel, up to its first line.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from builder.run import Sandbox
from builder.vm.config import MIB, Accelerator, DirectKernel, MachineConfig
from builder.vm.machine import Machine
from builder.vm.wait import VmError
from updater.errors import InputError
from updater.files import write_atomic

_log = logging.getLogger(__name__)

OVERRIDE = "BEDPLATE_ACCEL"
KVM_DEVICE = Path("/dev/kvm")
PROBE_SECONDS = 8.0


def accelerator(
    tree: Path,
    kernel: Path | None,
    cache: Path,
    environment: Mapping[str, str] = os.environ,
) -> Accelerator:
    """What to run guests with on this machine.

    Args:
        tree: the tool tree that holds QEMU.
        kernel: a bzImage to probe with; without it only an earlier answer counts.
        cache: the folder in which the answer is kept, by host kernel and QEMU version.
        environment: where `BEDPLATE_ACCEL` (kvm or tcg) overrides everything.

    Raises:
        InputError: the override is neither kvm nor tcg.
    """
    wanted = environment.get(OVERRIDE)
    if wanted:
        try:
            return Accelerator(wanted)
        except ValueError:
            raise InputError(f"{OVERRIDE}={wanted}: expected kvm or tcg") from None
    if not os.access(KVM_DEVICE, os.R_OK | os.W_OK):
        return Accelerator.TCG
    probe = None if kernel is None else lambda: boots_with_kvm(tree, kernel)
    return remembered(cache, _machine_key(tree), probe)


def remembered(cache: Path, key: str, probe: Callable[[], bool] | None) -> Accelerator:
    """The answer kept under `key`, else the probe's, which is then kept; TCG without a probe."""
    path = cache / f"accelerator-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    try:
        return Accelerator(json.loads(path.read_text())["accelerator"])
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError):
        _log.warning("%s is damaged; KVM is probed again", path)
    if probe is None:
        _log.info("KVM was never probed on this machine; using TCG")
        return Accelerator.TCG
    answer = Accelerator.KVM if probe() else Accelerator.TCG
    _log.info("probed KVM: guests run with %s (%s overrides)", answer, OVERRIDE)
    cache.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps({"machine": key, "accelerator": answer}, indent=1).encode())
    return answer


def boots_with_kvm(tree: Path, kernel: Path) -> bool:
    """Whether a kernel says its first words under KVM within `PROBE_SECONDS`."""
    with tempfile.TemporaryDirectory(prefix="bedplate-kvm.") as folder:
        config = MachineConfig(
            folder=Path(folder),
            accelerator=Accelerator.KVM,
            kernel=DirectKernel(kernel, command_line="console=ttyS0 panic=-1"),
            memory=256 * MIB,
            cpus=1,
            networks=(),
            reboots=False,
        )
        machine = Machine(config, tree)
        try:
            machine.start()
            machine.wait_for_console("Linux version", PROBE_SECONDS)
        except VmError as error:
            _log.debug("KVM does not work here: %s", error)
            return False
        finally:
            machine.kill()
    return True


def _machine_key(tree: Path) -> str:
    host = os.uname()
    qemu = Sandbox(tree).run(["qemu-system-x86_64", "--version"]).partition("\n")[0]
    return f"{host.release} {host.version} {host.machine}; {qemu}"
