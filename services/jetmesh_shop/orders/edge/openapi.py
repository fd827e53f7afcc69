"""What `/openapi.json` says beyond what FastAPI reads from the routes: problems, and headers of answers."""

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from jetmesh_shop.orders.edge import problems
from jetmesh_shop.orders.edge.problems import MEDIA_TYPE, Kind, ProblemDocument

Json = dict[str, Any]
Responses = dict[int | str, Json]

LOCATION: Json = {
    "headers": {"Location": {"description": "The order.", "schema": {"type": "string", "format": "uri-reference"}}}
}
_ALWAYS = (problems.TOO_MANY_REQUESTS, problems.INTERNAL, problems.UNAVAILABLE)
_RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def problem_responses(*kinds: Kind) -> Responses:
    """The responses of these kinds and of those that any request may get, by status."""
    every = sorted((*kinds, *_ALWAYS), key=lambda kind: kind.status)
    return {kind.status: _response([same for same in every if same.status == kind.status]) for kind in every}


def _response(kinds: list[Kind]) -> Json:
    examples = {
        kind.slug: {"value": {"type": kind.type, "title": kind.title, "status": kind.status, "detail": "What to do."}}
        for kind in kinds
    }
    response: Json = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": examples}},
    }
    return {**response, "headers": _RETRY_AFTER} if kinds[0].status in (429, 503) else response


def describe(app: FastAPI) -> None:
    """Put the schema of problems in the place of FastAPI's own answer to a wrong request, which does not occur."""
    generated = app.openapi

    def openapi() -> Json:
        document = generated()
        schemas: Json = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
        _, problem = models_json_schema([(ProblemDocument, "validation")], ref_template="#/components/schemas/{model}")
        return {**document, "components": {**document["components"], "schemas": {**schemas, **problem["$defs"]}}}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
