"""The reboot lock: at most so many hosts of a group are down for an update at once."""
