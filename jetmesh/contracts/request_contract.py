"""The contracts of a request and of its response, which are compared with earlier releases as those of events are.

Who asks writes the request and reads the response; the endpoint does the opposite.
"""

from collections.abc import Iterator
from typing import Any

from jetmesh.contracts.schema import Contract, contract_of
from jetmesh.request_model import RequestType, owner_of

REQUEST, RESPONSE = "request", "response"


def request_contracts(request: RequestType) -> Iterator[Contract]:
    """The contract of the request and, where its class names one, that of the response."""
    yield contract_of(f"{request.type}.{REQUEST}", request, _facts(request, REQUEST))
    if response := request.response():
        yield contract_of(f"{request.type}.{RESPONSE}", response, _facts(request, RESPONSE))


def names_of(request: RequestType) -> tuple[str, ...]:
    """The names of these contracts."""
    return tuple(f"{request.type}.{part}" for part in (REQUEST, RESPONSE)[: 2 if request.response() else 1])


def _facts(request: RequestType, part: str) -> dict[str, Any]:
    return {
        "type": request.type,
        "owner": owner_of(request),
        "subject": request.type,
        "from_outside": False,
        "part": part,
    }
