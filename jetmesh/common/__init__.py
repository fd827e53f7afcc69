"""Small tools that know nothing of NATS."""
