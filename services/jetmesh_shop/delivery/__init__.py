"""Delivery: who carries which order to its customer."""
