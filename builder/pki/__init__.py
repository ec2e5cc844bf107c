"""Certificates for the hosts' API, for people who have no certificate authority."""
