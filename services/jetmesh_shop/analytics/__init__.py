"""Analytics: what happened, kept and counted."""
