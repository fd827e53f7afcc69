"""A whole mesh on one machine: its folder, its broker, its processes under supervision."""
