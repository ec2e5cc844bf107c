"""Where the API's server finds what it needs; tests give a folder of their own as `root`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Paths below one root."""

    root: Path = Path("/")

    @property
    def runtime(self) -> Path:
        """What the present boot knows of the API."""
        return self.root / "run/bedplate/api"

    @property
    def acts(self) -> Path:
        """The socket of root's side."""
        return self.runtime / "acts.sock"

    @property
    def certificate(self) -> Path:
        """What is known of the certificate in force."""
        return self.runtime / "certificate.json"

    @property
    def metrics(self) -> Path:
        """Every agent's metrics, a file each."""
        return self.root / "run/bedplate/metrics"

    def credentials(self, environment: Mapping[str, str] = os.environ) -> Path:
        """The folder of certificates and keys: the unit's own (systemd.exec(5), "Credentials")."""
        given = environment.get("CREDENTIALS_DIRECTORY")
        return self.runtime if given is None else Path(given)
