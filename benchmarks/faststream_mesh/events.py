"""What happens, as plain pydantic models."""

from pydantic import BaseModel


class Line(BaseModel):
    """So many pieces at that price."""

    sku: str
    quantity: int
    unit_price_minor: int


class Customer(BaseModel):
    """Who ordered."""

    customer_id: str
    email: str


class Order(BaseModel):
    """An order, placed or accepted or confirmed."""

    order_id: str
    customer: Customer
    lines: list[Line]
    currency: str
    payment_method: str

    @property
    def total_minor(self) -> int:
        """What the customer pays."""
        return sum(line.quantity * line.unit_price_minor for line in self.lines)


class Payment(BaseModel):
    """Authorized or captured."""

    order_id: str
    authorization_id: str
    amount_minor: int
    currency: str


class Goods(BaseModel):
    """Reserved or released."""

    order_id: str
    lines: list[Line]


class Refusal(BaseModel):
    """Refused, declined, rejected, cancelled or voided, and why."""

    order_id: str
    reason: str
