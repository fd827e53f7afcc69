"""The endpoint that a function declares."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

from jetmesh.declaration.options import of_one_delivery
from jetmesh.declaration.signature import Mistake, Signature
from jetmesh.event_model import is_token
from jetmesh.reaction import DeclarationError, EndpointDeclaration
from jetmesh.request_model import RequestType, endpoint_of, is_request, owner_of

ENDPOINT = re.compile(r"[A-Za-z0-9_-]+")

RESERVED = ("health", "reactions")
"""The endpoints that every service has (`jetmesh.process.micro`)."""


def declare_endpoint(
    signature: Signature, dependencies: type | None, others: Sequence[EndpointDeclaration]
) -> EndpointDeclaration:
    """The endpoint of a function's signature.

    Raises:
        DeclarationError: the signature is wrong, or the service has an endpoint of this name.
    """
    names = _parameters(signature)
    request = signature.hints[names[0]]
    signature.require_none(_request(signature, request))
    story, arguments = signature.arguments(names[1:], dependencies)
    signature.require_none(of_one_delivery(arguments, "and answers a request", "leave it out"))
    if story is not None:
        signature.require_none(_key(request))
    name, response = endpoint_of(request), signature.hints["return"]
    if name in (*RESERVED, *(other.name for other in others)):
        function = f"{signature.service}.{signature.name}"
        raise DeclarationError(f"{function}: an endpoint named {name} is there already; give the request another type.")
    return EndpointDeclaration(signature.service, name, signature.function, request, response, story, arguments)


def _parameters(signature: Signature) -> list[str]:
    """The names of its parameters, all of them annotated; what it returns is looked at with its request."""
    if not signature.is_async:
        raise signature.error("is not an async function", "write `async def`")
    names = list(inspect.signature(signature.function).parameters)
    for name in names or ["request"]:
        if name not in signature.hints:
            raise signature.error(f"does not annotate parameter `{name}`", "annotate it: the signature is the wiring")
    return names


def _request(signature: Signature, request: Any) -> Iterator[Mistake]:
    """It takes a request to its own service, and returns the response that the request names."""
    if not is_request(request):
        yield f"takes {request!r}, which is no request", "let its first parameter be a `jetmesh.Request`"
        return
    response = request.response()
    if response is None:
        yield f"takes {request.__name__}, which names no response", "write `Request[<the response>]`"
    elif signature.hints.get("return") != response:
        yield (
            f"does not return the response of {request.__name__}",
            f"annotate `-> {response.__name__}`, and raise `jetmesh.Problem` for what is no success",
        )
    if owner_of(request) != signature.service or not ENDPOINT.fullmatch(endpoint_of(request)):
        yield (
            f"answers {request.__name__}, whose type is {request.type!r}",
            f'declare `type="{signature.service}.{signature.name}"` on its class',
        )


def _key(request: RequestType) -> Iterator[Mistake]:
    """Its story can be read by its key."""
    if request.key_field not in getattr(request, "model_fields", ()):
        yield f"reads a story, but {request.__name__} names no key", 'declare `key_field="…"` on its class'
    elif not is_token(request, request.key_field):
        yield (
            f"reads the story of {request.__name__}.{request.key_field}, which may be a pattern such as `*`",
            "let the field be a Token, as a key is",
        )
