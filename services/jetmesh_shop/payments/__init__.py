"""Payments: hold the money, take it, let it go."""
