"""The order mesh: its services, in the order in which an order meets them."""

from services.analytics.service import analytics
from services.inventory.service import inventory
from services.notifications.service import notifications
from services.orders.service import orders
from services.payments.service import payments

SERVICES = (orders, payments, inventory, notifications, analytics)
