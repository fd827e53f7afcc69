"""The app chat: rooms, their members, messages in one order for all readers, unread counts, moderation."""
