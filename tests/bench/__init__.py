"""Figures of builds and updates on this machine, in one table; nothing here fails by a time."""
