"""Operating a host without a login: `bedplate-api`, and what it may ask root for."""
