"""Contracts between teams: the schemas of events, what a change of them breaks, and documents made from them."""
