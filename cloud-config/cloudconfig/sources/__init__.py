"""Where a cloud-config comes from: a small module for each source."""
