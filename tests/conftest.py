"""The VM tests' fixtures, shared by tests/vm and tests/fault; see tests/vm/fixtures.py."""

from fixtures import guest, server, site

__all__ = ["guest", "server", "site"]
