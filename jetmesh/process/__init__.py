"""A process of the mesh: its services, its health, its metrics."""
