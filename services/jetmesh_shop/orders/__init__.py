"""Orders: take an order, promise it, or cancel it."""
