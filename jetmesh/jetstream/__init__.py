"""The JetStream client: one connection, and what is pulled, read and published over it."""
