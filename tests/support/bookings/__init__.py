"""A service with a database of its own: jobs that are asked for are booked, in its table and by an event."""
