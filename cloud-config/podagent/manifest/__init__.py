"""Manifests: Kubernetes YAML to a checked workload, and back to what podman plays."""

from podagent.manifest.reading import ManifestError, parse
from podagent.manifest.render import render, volume_prefix

__all__ = ["ManifestError", "parse", "render", "volume_prefix"]
