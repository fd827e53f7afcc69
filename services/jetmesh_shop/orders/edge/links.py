"""Where an order is found."""

from urllib.parse import quote


def path_of(order_id: str) -> str:
    """The path of the order."""
    return f"/orders/{quote(order_id, safe='')}"


def links_of(order_id: str) -> dict[str, str]:
    """The order, its live story, and (DELETE) its cancellation."""
    path = path_of(order_id)
    return {"self": path, "events": f"{path}/events", "cancel": path}
