"""Notifications: the mails to the customer."""
