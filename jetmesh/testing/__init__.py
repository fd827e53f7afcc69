"""For authors of services: stories without a broker, and the real broker as a fixture."""
