"""The whole configuration of a host, from one `#cloud-config` document."""
