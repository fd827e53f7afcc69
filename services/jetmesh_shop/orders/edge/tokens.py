"""Who may see an order: the holder of the token that its creation returned, and operators."""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

from fastapi.security import HTTPAuthorizationCredentials

from jetmesh.http import FORBIDDEN, UNAUTHORIZED


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

    def authorize(self, bearer: HTTPAuthorizationCredentials | None, order_id: str) -> None:
        """Let the bearer of a right token pass.

        Raises:
            Problem: 401 without a bearer token, 403 with one that does not open this order.
        """
        if bearer is None:
            detail = "Send the token that the order's creation returned: Authorization: Bearer <token>."
            raise UNAUTHORIZED.problem(detail, headers={"WWW-Authenticate": 'Bearer realm="orders"'})
        accepted = [self.token(order_id), *filter(None, [self.operator])]
        # Every one is compared, without a short cut: the time taken must not tell which one is near.
        if not sum(hmac.compare_digest(bearer.credentials.encode(), token.encode()) for token in accepted):
            raise FORBIDDEN.problem("The token does not open an order of this id.")
