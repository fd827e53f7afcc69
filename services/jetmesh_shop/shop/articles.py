"""The articles as a customer sees them, and the ways to pay that the sandbox bank knows."""

from typing import NamedTuple

from jetmesh_contracts.money import money
from jetmesh_shop.orders.catalogue import PRICES

CURRENCY = "EUR"
QUANTITY_MAX = 20


class Article(NamedTuple):
    """One article of the catalogue."""

    sku: str
    name: str
    words: str
    price_minor: int

    @property
    def price(self) -> str:
        """As people write it."""
        return money(self.price_minor, CURRENCY)


WORDS = {
    "pizza-margherita": ("Pizza Margherita", "Tomato, mozzarella, basil."),
    "pizza-funghi": ("Pizza Funghi", "Mushrooms, garlic, parsley."),
    "lasagne": ("Lasagne", "Slow ragù, seven layers."),
    "tiramisu": ("Tiramisù", "Made this morning."),
    "panna-cotta": ("Panna cotta", "With raspberries."),
    "cola": ("Cola", "0.33 l, cold."),
    "espresso": ("Espresso", "Short and strong."),
    "truffle-special": ("Truffle special", "Ten a season. Order eleven, and see."),
}
ARTICLES = {sku: Article(sku, *WORDS.get(sku, (sku, "")), price) for sku, price in PRICES.items()}


class PaymentMethod(NamedTuple):
    """A payment method of the sandbox bank, and what the bank does with it."""

    id: str
    name: str
    words: str
    tone: str = "good"


PAYMENT_METHODS = (
    PaymentMethod("pm_card_visa", "Visa", "pays"),
    PaymentMethod("pm_card_mastercard", "Mastercard", "pays"),
    PaymentMethod("pm_sandbox_flaky", "Wavering bank", "fails, then pays", "warn"),
    PaymentMethod("pm_card_visa_chargeDeclinedInsufficientFunds", "Visa, empty", "not enough money", "bad"),
    PaymentMethod("pm_card_chargeDeclinedExpiredCard", "Visa, expired", "declined: expired", "bad"),
    PaymentMethod("pm_card_radarBlock", "Visa, suspicious", "declined: fraud", "bad"),
    PaymentMethod("pm_sandbox_captureFails", "Visa, blocked", "held, then refused", "bad"),
    PaymentMethod("pm_sandbox_holdExpires", "Visa, slow", "held, then expired", "bad"),
)
