"""`bedplate host`: what is asked of hosts, and how their answers are shown."""
