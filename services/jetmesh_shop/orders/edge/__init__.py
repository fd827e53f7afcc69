"""The HTTP edge of orders: place an order, read its story, follow it as it happens, ask to cancel it."""
