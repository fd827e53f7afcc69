"""HTTP for services: an application that bounds what it is sent, answers with problem documents, and is served next to
the reactions. It needs the extra `jetmesh[http]`."""

from jetmesh.common.extras import brought_by

with brought_by("http", "jetmesh.http"):
    from jetmesh.http.api import api
    from jetmesh.http.browser.assets import Assets
    from jetmesh.http.browser.security import PageSecurity
    from jetmesh.http.errors import Problems
    from jetmesh.http.idempotency import IdempotencyKey
    from jetmesh.http.limits import Limits
    from jetmesh.http.live import LIVE, LastEventId, LiveStories, QueryToken
    from jetmesh.http.openapi import problem_responses
    from jetmesh.http.outside import FromOutside, name_key
    from jetmesh.http.problems import (
        BAD_HEADER,
        FORBIDDEN,
        INVALID_REQUEST,
        NOT_FOUND,
        OF_A_BODY,
        TOO_LARGE,
        UNAUTHORIZED,
        ProblemKind,
        busy,
    )
    from jetmesh.http.requests import Router
    from jetmesh.http.serve import HttpSettings, serve
    from jetmesh.http.tokens import Bearer, KeyTokens, TokenSettings

__all__ = [
    "BAD_HEADER",
    "FORBIDDEN",
    "INVALID_REQUEST",
    "LIVE",
    "NOT_FOUND",
    "OF_A_BODY",
    "TOO_LARGE",
    "UNAUTHORIZED",
    "Assets",
    "Bearer",
    "FromOutside",
    "HttpSettings",
    "IdempotencyKey",
    "KeyTokens",
    "LastEventId",
    "Limits",
    "LiveStories",
    "PageSecurity",
    "ProblemKind",
    "Problems",
    "QueryToken",
    "Router",
    "TokenSettings",
    "api",
    "busy",
    "name_key",
    "problem_responses",
    "serve",
]
