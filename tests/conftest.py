"""What tests/vm and tests/fault share: see fixtures.py, cluster.py and evidence.py in tests/vm."""

from hypothesis import HealthCheck, settings

from cluster import nodes
from evidence import pytest_runtest_makereport
from fixtures import guest, server, site

__all__ = ["guest", "nodes", "pytest_runtest_makereport", "server", "site"]

# How long an example takes says something of the machine and nothing of the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
