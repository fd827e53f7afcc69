"""Finds the app: the tuple of all services of a mesh."""

import importlib
import re
import sys
import tomllib
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any, Self

from jetmesh.event import INTAKE
from jetmesh.middleware import Middleware
from jetmesh.reaction import DeclarationError
from jetmesh.service import Service
from jetmesh.settings import Project, read
from jetmesh.topology.names import BESIDE, DEAD_LETTERS


class AppError(ValueError):
    """The app can't be found, or is no sequence of services; the text names the reference."""


NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


class App(tuple[Service, ...]):
    """The services of a mesh, and the middlewares around the reactions of them all. A plain tuple is an app, too.

    `name` is the app's on its broker, where it owns streams, durables and events beside other apps. Where it is not
    given, commands take the first word of the app's reference: `shop` of `shop.flow:SERVICES`. `version` is that of the
    distribution that brings the app, if it is not given.
    """

    middlewares: tuple[Middleware, ...]
    name: str
    version: str

    def __new__(
        cls, services: Iterable[Service], middlewares: Iterable[Middleware] = (), *, name: str = "", version: str = ""
    ) -> Self:
        app = super().__new__(cls, services)
        app.version = version
        app.middlewares = tuple(middlewares)
        if name and not NAME.fullmatch(name):
            raise DeclarationError(f"App(name={name!r}): small letters, digits, - and _, 32 at most")
        app.name = name
        return app


def middlewares_of(services: Sequence[Service]) -> tuple[Middleware, ...]:
    """The middlewares of the app; a plain tuple of services has none."""
    return services.middlewares if isinstance(services, App) else ()


def name_of(services: Sequence[Service]) -> str:
    """The name of the app that the services are; empty if it has none."""
    return services.name if isinstance(services, App) else ""


def version_of(services: Sequence[Service]) -> str:
    """The version of the app that the services are; empty if it has none."""
    return services.version if isinstance(services, App) else ""


def load(reference: str = "") -> App:
    """The services of the app `module:attribute`: as given, else `JETMESH_APP`, else `[tool.jetmesh] app` in this
    folder's pyproject.toml, else the only installed entry point of the group `jetmesh.apps`.

    Raises:
        AppError: nothing names an app, or it is no sequence of services.
    """
    reference = reference_of(reference)
    module, colon, attribute = reference.partition(":")
    if not colon:
        raise AppError(f"app {reference!r}: write it as module:attribute, for instance jetmesh_shop.flow:SERVICES")
    if not sys.flags.safe_path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        services = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as missing:
        raise AppError(f"app {reference}: {missing}{hidden_by(module)}") from None
    return _checked(reference, services)


def reference_of(reference: str = "") -> str:
    """The reference of the app, looked for in the same order.

    Raises:
        AppError: nothing does.
    """
    return reference or read(Project).app or _of_project(Path()) or _installed()


def hidden_by(module: str) -> str:
    """A hint for a folder here that hides the installed package; empty if there is none."""
    package = module.partition(".")[0]
    here = Path.cwd() / package
    return f"; the folder {here} hides an installed package {package}: run this elsewhere" if here.is_dir() else ""


def added(services: Sequence[Service], group: str) -> list[Any]:
    """What the app brings for the runtime's commands: the entry points of this group under the name that the app has in
    `jetmesh.apps`; for `[tool.jetmesh] app`, of group `jetmesh.audits` also `[tool.jetmesh] audits`.

    Raises:
        AppError: there is no such module or attribute.
    """
    apps = [*entry_points(group="jetmesh.apps"), *_points("app", "jetmesh.apps")]
    names = {point.name for point in apps if load(point.value) == tuple(services)}
    declared = [*entry_points(group=group), *_points(group.rpartition(".")[2], group)]
    try:
        return [point.load() for point in declared if point.name in names]
    except (ModuleNotFoundError, AttributeError) as missing:
        raise AppError(f"{group} of the app: {missing}") from None


def named(services: Sequence[Service], names: Sequence[str]) -> tuple[Service, ...]:
    """The services of these names; all where none is named.

    Raises:
        AppError: there is no service of a name.
    """
    known = {service.name: service for service in services}
    if unknown := [name for name in names if name not in known]:
        raise AppError(f"no service {unknown[0]!r}; there are {', '.join(known)}")
    return tuple(known[name] for name in names) or tuple(services)


def _checked(reference: str, services: Sequence[Service]) -> App:
    try:
        whole = App(
            services,
            middlewares_of(services),
            name=name_of(services) or _first_word(reference),
            version=version_of(services) or _version(reference),
        )
    except DeclarationError:
        raise
    except TypeError:
        whole = App(())
    if not whole or not all(isinstance(service, Service) for service in whole):
        raise AppError(f"app {reference} is no sequence of services; name a tuple such as SERVICES = (orders,)")
    names = [service.name for service in whole]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DeclarationError(f"app {reference}: two services are named {twice.pop()}; rename one")
    _check_streams(reference, whole)
    _check_durables(reference, whole)
    for service in whole:
        service.require_reactions()
    return whole


def _first_word(reference: str) -> str:
    """The name of an app that has none: the package that it is in."""
    word = reference.partition(":")[0].partition(".")[0].lower().lstrip("_")[:32]
    if not NAME.fullmatch(word):
        raise AppError(f"app {reference}: {word!r} can't be its name; give it one: App(services, name=…)")
    return word


def _version(reference: str) -> str:
    """The version of the project here whose app it is, else of the distribution that brings it; empty without both."""
    if _of_project(Path()) == reference and (said := _table(Path(), "project").get("version")):
        return str(said)
    for point in entry_points(group="jetmesh.apps"):
        if point.value == reference and point.dist:
            return point.dist.version
    names = packages_distributions().get(reference.partition(":")[0].partition(".")[0], ())
    return version(names[0]) if names else ""


def _check_streams(reference: str, services: Sequence[Service]) -> None:
    """No two services share a stream, or the broker's account of the same name."""
    owners = {INTAKE: "the intake", DEAD_LETTERS: "the dead letters"}
    for service in services:
        for stream in (service.stream, *(of(service.stream) for of in BESIDE)):
            if stream in owners:
                raise DeclarationError(
                    f"app {reference}: {owners[stream]} and {service.name} would share the stream {stream}; "
                    f"rename the service"
                )
            owners[stream] = service.name
    for reaction in (reaction for service in services for reaction in service.reactions):
        if reaction.listens and (owner := owners.get(reaction.listens.stream)):
            raise DeclarationError(
                f"app {reference}: {reaction.service}.{reaction.name} listens to {reaction.listens.stream}, the stream "
                f"of {owner}: it is no foreign one; react to the events in it with `@{reaction.service}.on`"
            )


def _check_durables(reference: str, services: Sequence[Service]) -> None:
    """No reaction is named as the express durable of another service's."""
    express = {r.express: r for service in services for r in service.reactions if r.express}
    for reaction in (reaction for service in services for reaction in service.reactions):
        if other := express.get(reaction.durable):
            raise DeclarationError(
                f"app {reference}: {reaction.service}.{reaction.name} and the urgent types of {other.service}."
                f"{other.name} would share the durable {reaction.durable}; rename one of the functions"
            )


def _points(key: str, group: str) -> list[EntryPoint]:
    """The same as an entry point, of this folder's pyproject.toml."""
    reference = _of_project(Path(), key)
    return [EntryPoint("[tool.jetmesh]", reference, group)] if reference else []


def _of_project(folder: Path, key: str = "app") -> str:
    return str(_table(folder, "tool").get("jetmesh", {}).get(key, ""))


def _table(folder: Path, name: str) -> dict[str, Any]:
    """A table of the pyproject.toml in a folder; empty where there is none."""
    file = folder / "pyproject.toml"
    found: dict[str, Any] = tomllib.loads(file.read_text("utf-8")).get(name, {}) if file.is_file() else {}
    return found


def _installed() -> str:
    found = sorted(entry_points(group="jetmesh.apps"), key=lambda point: point.name)
    if len(found) == 1:
        return found[0].value
    several = ", ".join(point.name for point in found)
    raise AppError(
        f"several apps are installed ({several}): choose one with --app or JETMESH_APP" if found else
        "no app: name it with --app module:attribute, JETMESH_APP, or [tool.jetmesh] app in pyproject.toml"
    )  # fmt: skip
