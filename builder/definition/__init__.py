"""Image definitions: what is in an image, read from YAML, checked and merged."""
