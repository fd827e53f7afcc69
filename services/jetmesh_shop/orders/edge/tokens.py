"""Who may see an order: the holder of the token that its creation returned, and operators."""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field

from jetmesh_shop.orders.edge.problems import FORBIDDEN, UNAUTHORIZED, Problem


@dataclass(frozen=True)
class Tokens:
    """Order tokens are HMAC-SHA256 of the order's id: nothing to store, nothing to look up.

    The `operator`'s token, where there is one, opens every order. An order that does not exist answers like one whose
    token is wrong.
    """

    secret: bytes = field(repr=False)
    operator: str = field(default="", repr=False)

    def token(self, order_id: str) -> str:
        """The token that opens this order."""
        digest = hmac.digest(self.secret, order_id.encode(), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def authorize(self, headers: Mapping[str, str], order_id: str) -> None:
        """Let the bearer of a right token pass.

        Raises:
            Problem: 401 without a bearer token, 403 with one that does not open this order.
        """
        scheme, _, presented = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not presented.strip():
            raise Problem(
                UNAUTHORIZED,
                "Send the token that the order's creation returned: Authorization: Bearer <token>.",
                headers={"WWW-Authenticate": 'Bearer realm="orders"'},
            )
        if not self._opens(presented.strip().encode(), order_id):
            raise Problem(FORBIDDEN, "The token does not open an order of this id.")

    def _opens(self, presented: bytes, order_id: str) -> bool:
        accepted = [self.token(order_id), *filter(None, [self.operator])]
        # Every one is compared, without a short cut: the time taken must not tell which one is near.
        return sum(hmac.compare_digest(presented, token.encode()) for token in accepted) > 0
