"""The kinds of problems that orders has of its own, and what its problem documents say of orders."""

from jetmesh.http import ProblemKind, Problems

ORDER_EXISTS = ProblemKind.named(409, "order-exists", "Another order has this id")
TOO_LATE = ProblemKind.named(409, "too-late", "The order has ended")
INVALID_ORDER = ProblemKind.named(422, "invalid-order", "The order breaks its contract")
KEY_REUSED = ProblemKind.named(422, "idempotency-key-reused", "The Idempotency-Key belongs to another order")
REFUSED = ProblemKind.named(422, "order-refused", "The order is refused")

PROBLEMS = Problems(
    invalid=INVALID_ORDER,
    fixes={
        "email": "Send an e-mail address, such as ada@example.com.",
        "int_from_float": "Send a whole number: amounts are in the currency's minor unit.",
    },
    ask_again="Ask again with the same order_id or Idempotency-Key: nothing is done twice.",
    members={"reason": "Why the order was refused.", "order_id": "The id under which the refusal is recorded."},
)
