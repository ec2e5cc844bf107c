"""Where the agent keeps things; tests give a folder of their own as `root`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

EXTENSIONS = PurePosixPath("/var/lib/extensions")
"""Where systemd-sysext looks for those that a document brings (systemd-sysext(8))."""
RAW = ".raw"
"""How their images' names end."""
_VAR = PurePosixPath("/var")


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def runtime(self) -> Path:
        """What the present boot knows: the status, what was applied."""
        return self.root / "run/bedplate/config"

    @property
    def state(self) -> Path:
        """What outlives a boot: the last good document, what was written below /var."""
        return self.root / "var/lib/bedplate/config"

    @property
    def status(self) -> Path:
        """The status document."""
        return self.runtime / "status.json"

    @property
    def metrics(self) -> Path:
        """The metrics in Prometheus' text format."""
        return self.root / "run/bedplate/metrics/config.prom"

    @property
    def note(self) -> Path:
        """What the console shows of the configuration."""
        return self.root / "run/bedplate/notes/config"

    @property
    def extensions_laid(self) -> Path:
        """Which extensions the last merge has laid over /usr."""
        return self.root / "run/bedplate/extensions.json"

    @property
    def extensions_note(self) -> Path:
        """What the console shows of system extensions; there while one is refused."""
        return self.root / "run/bedplate/notes/extensions"

    @property
    def network_wanted(self) -> Path:
        """There while a source on the network has still to be asked."""
        return self.runtime / "network-wanted"

    def on_host(self, path: PurePosixPath) -> Path:
        """Where a path of the host's is."""
        return self.root / path.relative_to("/")

    def keeper(self, path: PurePosixPath) -> Path:
        """The folder that remembers what was done at `path`: it lives as long as `path` does."""
        return self.state if path.is_relative_to(_VAR) else self.runtime

    def original(self, path: PurePosixPath) -> Path:
        """Where a copy is kept of what was at `path` before any configuration came."""
        return self.keeper(path) / "originals" / str(path).strip("/").replace("/", "\\x2f")
