"""Inventory: whom the goods go to."""
