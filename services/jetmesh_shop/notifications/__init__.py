"""Notifications: what the customer is told."""
