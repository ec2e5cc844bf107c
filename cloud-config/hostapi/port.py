"""Where a host's API listens: also for those that need no more of it than this."""

PORT = 7443
