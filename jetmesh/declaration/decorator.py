"""A decorator that needs arguments: used without them, or with wrong ones, its error names the function and the fix."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from jetmesh.reaction import DeclarationError

Arguments = ParamSpec("Arguments")
Holder = TypeVar("Holder")
Declares = Callable[[Any], Any]


def like(
    example: str,
) -> Callable[[Callable[Concatenate[Holder, Arguments], Declares]], Callable[Concatenate[Holder, Arguments], Declares]]:
    """Of a method of a service that returns a decorator; `example` is how it is written."""

    def around(method: Any) -> Any:
        @wraps(method)
        def declaring(service: Any, *given: Any, **options: Any) -> Any:
            if given and inspect.isfunction(given[0]):
                return refuse(service, given[0], "has no arguments")
            try:
                return method(service, *given, **options)
            except (TypeError, OverflowError) as wrong:
                why = str(wrong).removeprefix("Service.")
                return lambda function: refuse(service, function, f"does not take these arguments ({why})")

        def refuse(service: Any, function: Any, why: str) -> Any:
            name = getattr(function, "__name__", repr(function))
            raise DeclarationError(
                f"{service.name}.{name}: its decorator `{method.__name__}` {why}; write `@{service.name}.{example}`."
            )

        return declaring

    return around
