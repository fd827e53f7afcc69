"""Streams, buckets and durables of the flow: what whoever sets it up needs, without FastStream."""

STREAMS = {
    "INTAKE": ["orders.placed"],
    "ORDERS": ["orders.accepted", "orders.refused", "orders.confirmed", "orders.cancelled"],
    "PAYMENTS": ["payments.*"],
    "INVENTORY": ["inventory.*"],
}
OWNERS = {"orders": "ORDERS", "payments": "PAYMENTS", "inventory": "INVENTORY"}
BUCKETS = ("orders", "stock", "reservations")
DURABLES = (
    ("INTAKE", "orders-place"),
    ("PAYMENTS", "orders-paid"),
    ("INVENTORY", "orders-reserved"),
    ("PAYMENTS", "orders-declined"),
    ("INVENTORY", "orders-rejected"),
    ("ORDERS", "payments-authorize"),
    ("ORDERS", "payments-capture"),
    ("ORDERS", "payments-void"),
    ("ORDERS", "inventory-reserve"),
    ("ORDERS", "inventory-release"),
    ("ORDERS", "analytics"),
    ("PAYMENTS", "analytics"),
    ("INVENTORY", "analytics"),
)
