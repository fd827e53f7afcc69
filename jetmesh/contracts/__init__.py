"""Contracts between teams: the schemas of events, the check for breaking changes, and generated documents."""
