"""The updater: keeps a host current from signed releases, and takes a bad one back."""
