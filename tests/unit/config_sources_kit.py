"""A machine in a folder, as the sources of a cloud-config see it."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cloudconfig.sources.base import Machine

DOCUMENT = b"#cloud-config\nhostname: web-1\n"


@dataclass(slots=True)
class Laid:
    """Lays out a machine below `root`; `disks` are what is on each disk, by its label."""

    root: Path
    metadata: str = "http://127.0.0.1:9"
    disks: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    mounted: list[str] = field(default_factory=list)

    def put(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def boot(self, command_line: str = "quiet", **dmi: str) -> None:
        self.put("proc/cmdline", command_line.encode() + b"\n")
        for name, value in dmi.items():
            self.put(f"sys/class/dmi/id/{name}", value.encode() + b"\n")

    def disk(self, label: str, files: Mapping[str, bytes]) -> None:
        self.put(f"dev/disk/by-label/{label}", b"")
        self.disks[label] = files

    @contextmanager
    def _mount(self, device: Path, at: Path) -> Iterator[None]:
        """What a mount makes of the disk, as plain files."""
        self.mounted.append(device.name)
        at.mkdir(parents=True)
        for name, data in self.disks[device.name].items():
            self.put(str(at.relative_to(self.root) / name), data)
        yield
        shutil.rmtree(at)

    @property
    def machine(self) -> Machine:
        return Machine(self.root, self.metadata, self._mount)
