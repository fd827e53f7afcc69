"""A service at work: each delivery goes to its reaction, and what comes of it is recorded."""
