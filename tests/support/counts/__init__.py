"""A service with a read model in two versions."""
