"""Trust on the workstation: keys, the TUF repository, and what signs a release."""
