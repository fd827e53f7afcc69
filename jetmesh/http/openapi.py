"""What `/openapi.json` says beyond what FastAPI reads from the routes: problems, and headers of answers."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from jetmesh.http import problems
from jetmesh.http.problems import ProblemDocument, ProblemKind
from jetmesh.problem import MEDIA_TYPE

JsonObject = dict[str, Any]
Responses = dict[int | str, JsonObject]

_ALWAYS = (problems.TOO_MANY_REQUESTS, problems.INTERNAL, problems.UNAVAILABLE)
_RETRY_AFTER: JsonObject = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def problem_responses(*kinds: ProblemKind) -> Responses:
    """The responses of these kinds and of those that any request may get, by status."""
    every = sorted((*kinds, *_ALWAYS), key=lambda kind: kind.status)
    return {kind.status: _response([same for same in every if same.status == kind.status]) for kind in every}


def _response(kinds: list[ProblemKind]) -> JsonObject:
    examples = {kind.type.rpartition(":")[2]: {"value": {**asdict(kind), "detail": "What to do."}} for kind in kinds}
    response: JsonObject = {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}, "examples": examples}},
    }
    return {**response, "headers": _RETRY_AFTER} if kinds[0].status in (429, 503) else response


def describe(app: FastAPI, members: Mapping[str, str]) -> None:
    """Put the schema of problems in the place of FastAPI's own answer to a wrong request, which does not occur.
    `members` are the app's own of its problems, each with its meaning."""
    generated = app.openapi

    def openapi() -> JsonObject:
        document = generated()
        components: JsonObject = document.get("components", {})
        schemas: JsonObject = components.get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for operation in (operation for path in document.get("paths", {}).values() for operation in path.values()):
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
        _, problem = models_json_schema([(ProblemDocument, "validation")], ref_template="#/components/schemas/{model}")
        own = {name: {"type": "string", "description": meaning} for name, meaning in members.items()}
        problem["$defs"]["ProblemDocument"]["properties"].update(own)
        return {**document, "components": {**components, "schemas": {**schemas, **problem["$defs"]}}}

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document
