"""The order mesh: its services, in the order in which an order meets them."""

from jetmesh import App
from jetmesh_shop.analytics.service import analytics
from jetmesh_shop.delivery.service import delivery
from jetmesh_shop.inventory.service import inventory
from jetmesh_shop.notifications.service import notifications
from jetmesh_shop.orders.service import orders
from jetmesh_shop.payments.service import payments

SERVICES = App((orders, payments, inventory, delivery, notifications, analytics), name="shop")
