"""The frameworks' own session tests, run with this package in the place of their sessions; see `scripts/upstream`."""
