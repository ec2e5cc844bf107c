"""A fleet of hosts, seen and changed from the workstation by way of its etcd."""
