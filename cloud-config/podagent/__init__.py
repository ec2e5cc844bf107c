"""The container agent: pods declared for this host, kept running by podman, and reported."""
