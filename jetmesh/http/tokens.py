"""Who may see what was created over HTTP: the holder of the token that its creation returned, and operators."""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from jetmesh.http.problems import FORBIDDEN, UNAUTHORIZED
from jetmesh.http.serve import HttpSettings
from jetmesh.settings import SettingsError

SECRET_LENGTH_MIN = 16

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, scheme_name="bearer", description="The token that its creation returned.")),
]
"""The bearer token of a request, for `KeyTokens.authorize`; None where there is none."""


@dataclass(frozen=True)
class KeyTokens:
    """A token for each key, HMAC-SHA256 of the key: nothing to store, nothing to look up.

    The `operator`'s token, where there is one, opens every key. A key that does not exist answers like one whose token
    is wrong.
    """

    secret: bytes = field(repr=False)
    operator: str = field(default="", repr=False)
    realm: str = "keys"

    def token(self, key: str) -> str:
        """The token that opens this key."""
        digest = hmac.digest(self.secret, key.encode(), "sha256")
        return urlsafe_b64encode(digest).rstrip(b"=").decode()

    def authorize(self, bearer: Bearer, key: str) -> None:
        """Let the bearer of a right token pass.

        Raises:
            Problem: 401 without a bearer token, 403 with one that does not open this key.
        """
        if bearer is None:
            detail = "Send the token that its creation returned: Authorization: Bearer <token>."
            raise UNAUTHORIZED.problem(detail, headers={"WWW-Authenticate": f'Bearer realm="{self.realm}"'})
        accepted = [self.token(key), *filter(None, [self.operator])]
        # Every one is compared, without a short cut: the time taken must not tell which one is near.
        if not sum(hmac.compare_digest(bearer.credentials.encode(), token.encode()) for token in accepted):
            raise FORBIDDEN.problem("The token does not open what is asked for.")


class TokenSettings(HttpSettings):
    """Those of HTTP; `JETMESH_HTTP_SECRET`, which signs tokens, the same for every replica; and
    `JETMESH_HTTP_OPERATOR_TOKEN`, which opens every key."""

    http_secret: str = ""
    http_operator_token: str = ""

    def tokens(self, realm: str) -> KeyTokens:
        """The tokens, which every replica knows, and knows again after a restart; `realm` is what they open.

        Raises:
            SettingsError: there is no secret to sign them with, or one is too short.
        """
        secret, operator = self.http_secret, self.http_operator_token
        if len(secret) < SECRET_LENGTH_MIN:
            wrong = f"is shorter than {SECRET_LENGTH_MIN} characters" if secret else "is not set"
            raise SettingsError(
                f"settings: JETMESH_HTTP_SECRET: it signs the tokens of {realm}, and {wrong}; give every replica the "
                f"same, for instance what `openssl rand -hex 32` prints"
            )
        if operator and len(operator) < SECRET_LENGTH_MIN:
            raise SettingsError(
                f"settings: JETMESH_HTTP_OPERATOR_TOKEN: is shorter than {SECRET_LENGTH_MIN} characters"
            )
        return KeyTokens(secret.encode(), operator, realm)
