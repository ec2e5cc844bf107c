"""The builder: turns a definition in images/ into a signed release, on a workstation or in CI."""
