"""Where the reboot lock's parts keep things; tests give a folder of their own as `root`."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def settings(self) -> Path:
        """Where the lock is, as the host's cloud-config says."""
        return self.root / "etc/bedplate/lock.json"

    @property
    def free(self) -> Path:
        """There while the host knows that it does not hold the lock.

        The other way round a lost `/var` would lose the lock with it.
        """
        return self.root / "var/lib/bedplate/lock/free"

    @property
    def metrics(self) -> Path:
        """The metrics in Prometheus' text format."""
        return self.root / "run/bedplate/metrics/lock.prom"

    def on_host(self, path: PurePosixPath) -> Path:
        """Where a path of the host's is."""
        return self.root / path.relative_to("/")
