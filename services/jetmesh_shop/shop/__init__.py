"""The shop in a browser: a catalogue, a basket, "Buy", and an order followed to its receipt. It is no service: it asks
the HTTP edge of orders as any client does, and reads the mesh through `jetmesh.connect`."""
