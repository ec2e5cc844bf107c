"""Names and stable addresses of workloads, on every host alike."""
