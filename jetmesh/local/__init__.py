"""A whole mesh on one machine: its state folder, its broker, its supervised processes."""
