"""A service at work: delivers to its reactions and records their outcomes."""
