"""The VM tests' fixtures, shared by tests/vm and tests/fault; see tests/vm/fixtures.py."""

from fixtures import guest, server, site
from hypothesis import HealthCheck, settings

__all__ = ["guest", "server", "site"]

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
