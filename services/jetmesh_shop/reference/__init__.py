"""The reference mesh on one machine: its commands, and the outside world that it needs."""
