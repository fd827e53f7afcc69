"""Settings from the environment, checked at start. An error names its variable."""

import os
import re
from collections.abc import Mapping, Set
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from jetmesh.event import stream_of

Model = TypeVar("Model", bound=BaseModel)

PREFIX = "JETMESH_"
NEAR = 0.85
"""How alike a name and a setting are, where one is meant for the other (difflib's ratio, without the prefix)."""
_READ: dict[type[BaseModel], None] = {}
"""The models that this process has read settings of: those of its services as well."""

NO_TENANT = frozenset({"dead", "timers", "due", "wakes", "claims", "limits", "partition", "jetmesh"})
"""The first words of the mesh's own subjects: a tenant's would be among those without a tenant."""

_TENANT = re.compile(r"[a-z][a-z0-9-]{0,31}")

SCHEMES = frozenset({"nats", "tls"})
"""The schemes of a server's address."""


class SettingsError(ValueError):
    """A variable of the environment has a wrong value; the text names it and says what to write."""


def _pairs(text: object) -> object:
    """`orders=2,payments=4` as names and numbers."""
    if not isinstance(text, str):
        return text
    pairs = [pair.partition("=") for pair in text.split(",")]
    if wrong := [name for name, sign, _ in pairs if not (name and sign)]:
        raise ValueError(f"{wrong[0]!r} is no service=number; write orders=2, and a comma between two")
    return {name.strip(): number.strip() for name, _, number in pairs}


def _tenant(text: object) -> object:
    """The name of a tenant: a token of a subject."""
    if text and not _TENANT.fullmatch(str(text)):
        raise ValueError(f"{text!r} is no tenant; write small letters, digits and dashes, a letter first, at most 32")
    if text in NO_TENANT:
        raise ValueError(f"{text!r} is the first word of subjects of the mesh itself; write another name")
    return text


def _servers(text: object) -> object:
    """Addresses of servers, each with its scheme, without empty ones."""
    urls = [_with_scheme(url) for part in str(text).split(",") if (url := part.strip())]
    for url in urls:
        if not _is_server(url):
            shown = f"{url.partition('://')[0]}://{url.partition('://')[2].rpartition('@')[2]}"
            raise ValueError(f"{shown} is no address of a server; write nats://host:4222, and %2F for / in a password")
    if not urls:
        raise ValueError("names no server; write nats://host:4222")
    return ",".join(urls)


def _with_scheme(url: str) -> str:
    scheme, sign, rest = url.partition("://")
    return f"{scheme.lower()}://{rest}" if sign else f"nats://{url}"


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        behind_user = urlsplit(f"//{url.partition('://')[2].rpartition('@')[2]}").hostname
        if " " in url:
            return False
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.hostname == behind_user and parts.port != 0
    except ValueError:
        return False


class Settings(BaseModel):
    """The settings of every process of the mesh. `NATS_URL` and the `OTEL_*` variables keep their standard names, the
    others are `JETMESH_` and the field's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    nats_url: Annotated[
        str, BeforeValidator(_servers), Field(alias="NATS_URL", description="Servers, separated by commas.")
    ] = "nats://127.0.0.1:4222"
    nats_nkey_seed: Annotated[str, Field(description="File with the nkey seed of this process's user.")] = ""
    nats_micro_nkey_seed: Annotated[
        str, Field(description="File with the seed of the user that answers `nats micro`; empty: the same user.")
    ] = ""
    nats_domain: Annotated[
        str,
        Field(
            pattern=r"^[^\s.*>]*$",
            description="JetStream domain of the mesh, where a leaf node leads there; empty: that of the server.",
        ),
    ] = ""
    nats_api_prefix: Annotated[
        str,
        Field(
            pattern=r"^$|^[^\s.*>]+(\.[^\s.*>]+)*$",
            description="Where the JetStream API is found; empty: $JS.API, or $JS.<domain>.API.",
        ),
    ] = ""
    tenant: Annotated[
        str,
        BeforeValidator(_tenant),
        Field(description="What stands before the names of all streams, buckets and subjects (acme); empty: nothing."),
    ] = ""
    nats_tls_ca: Annotated[str, Field(description="File with the certificates that sign the server's.")] = ""
    nats_tls_certificate: Annotated[str, Field(description="File with the client's certificate.")] = ""
    nats_tls_key: Annotated[str, Field(description="File with the key of the client's certificate.")] = ""
    connect_seconds: Annotated[float, Field(gt=0, description="How long to wait for the broker at start.")] = 30.0
    drain_seconds: Annotated[float, Field(gt=0, description="How long a stop waits for what is in flight.")] = 20.0
    ack_wait_seconds: Annotated[
        float, Field(ge=1, description="After how long an unacknowledged delivery comes again.")
    ] = 30.0
    unknown_seconds: Annotated[
        float,
        Field(
            ge=0,
            description="How long a delivery of a type that only another version of the service takes waits "
            "for it, before it is a dead letter.",
        ),
    ] = 86_400.0
    slots: Annotated[
        int,
        Field(
            ge=1,
            le=4096,
            description="Deliveries of one consumer at work in this process; those whose event is on its way to the "
            "broker come on top, as many again at most.",
        ),
    ] = 512
    held_bytes: Annotated[int, Field(ge=1 << 20, description="Bytes of all deliveries in flight in this process.")] = (
        64 << 20
    )
    pool_threads: Annotated[
        int, Field(ge=1, le=1024, description="Threads for reactions that are plain functions, in this process.")
    ] = 32
    pool_processes: Annotated[
        int, Field(ge=0, le=256, description='Processes for reactions with pool="processes"; 0: one a processor.')
    ] = 0
    replicas: Annotated[int, Field(ge=1, le=5, description="Copies of each stream (topology apply).")] = 1
    outside_connections: Annotated[
        int, Field(ge=1, description="Connections of each outside user on each server (topology permissions).")
    ] = 256
    nats_inbox_prefix: Annotated[
        str,
        Field(
            pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$", description="Prefix of the inboxes that this user may subscribe to."
        ),
    ] = "_INBOX"
    partitions: Annotated[
        dict[str, Annotated[int, Field(ge=2, le=64)]],
        BeforeValidator(_pairs),
        Field(description="In how many streams a service's events are split by key (orders=2); the same everywhere."),
    ] = {}
    health_port: Annotated[int, Field(ge=0, le=65535, description="Port of /livez and /readyz; 0: none.")] = 0
    health_host: Annotated[str, Field(description="Address of /livez and /readyz.")] = "127.0.0.1"
    trust_traces: Annotated[
        bool, Field(description="Continue the traces of those who publish from outside; false: link them.")
    ] = False
    log_format: Annotated[str, Field(pattern="^(auto|json|text)$", description="auto: text on a terminal.")] = "auto"
    log_level: Annotated[str, Field(pattern="^(DEBUG|INFO|WARNING|ERROR)$")] = "INFO"
    state: Annotated[Path, Field(description="Folder of a mesh on one machine.")] = Path(".jetmesh")
    after_seconds: Annotated[
        dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]],
        Field(alias="JETMESH_AFTER_*_SECONDS", description="A deadline's delay, by <SERVICE>_<REACTION>."),
    ] = {}

    @field_validator("nats_api_prefix")
    @classmethod
    def _one_place(cls, prefix: str, info: ValidationInfo) -> str:
        if (domain := info.data.get("nats_domain")) and prefix not in ("", f"$JS.{domain}.API"):
            raise ValueError(f"JETMESH_NATS_DOMAIN={domain} names another place; set one of them")
        return prefix

    @property
    def api_prefix(self) -> str:
        """The subject prefix of the JetStream API."""
        return self.nats_api_prefix or (f"$JS.{self.nats_domain}.API" if self.nats_domain else "$JS.API")

    @property
    def split(self) -> dict[str, int]:
        """The partitions, by the stream that is split."""
        return {stream_of(service): count for service, count in self.partitions.items()}


class Project(BaseModel):
    """The app and the package of contracts of a command, where no option names them."""

    app: str = ""
    contracts: str = ""


class Debugging(BaseModel):
    """Whether a command shows where an error comes from. An invalid level is reported elsewhere."""

    log_level: str = ""


def environment() -> dict[str, str]:
    """The variables that are set; an empty one counts as unset."""
    return {name: value for name, value in os.environ.items() if value}


def variable(model: type[BaseModel], name: str) -> str:
    """The environment variable of a field; with a `*`, one for each key of it."""
    return model.model_fields[name].alias or f"JETMESH_{name.upper()}"


def read(model: type[Model], variables: Mapping[str, str] | None = None) -> Model:
    """The settings of `model`, from the environment where no other variables are given.

    Raises:
        SettingsError: naming each variable that has a wrong value.
    """
    _READ[model] = None
    names = {name: variable(model, name) for name in model.model_fields}
    given = environment() if variables is None else variables
    found = {model.model_fields[name].alias or name: _given(pattern, given) for name, pattern in names.items()}
    try:
        return model.model_validate({name: value for name, value in found.items() if value})
    except ValidationError as invalid:
        complaints = [(_named(names, e["loc"]), e["msg"].removeprefix("Value error, ")) for e in invalid.errors()]
        wrong = "; ".join(f"{name}: {words}" for name, words in complaints)
        raise SettingsError(f"settings: {wrong}") from None


def check_names(variables: Mapping[str, str], *, strict: bool = False) -> None:
    """Check that no variable is a misspelt setting, or one in the wrong place.

    Another service's variables may be there as well: without `strict`, one that resembles no setting is left alone.

    Raises:
        SettingsError: naming each that is, and the setting that is meant.
    """
    models: list[type[BaseModel]] = [Settings, Project, Debugging, *_READ]
    known = {variable(model, name) for model in models for name in model.model_fields}
    wrong = [f"{name}: {fix}" for name in sorted(variables) if (fix := _misspelt(name, known, strict=strict))]
    if wrong:
        raise SettingsError(f"settings: {'; '.join(wrong)}")


def _misspelt(name: str, known: Set[str], *, strict: bool) -> str:
    """What is meant instead; empty if the variable is all right."""
    if not name.startswith(PREFIX) or any(fnmatchcase(name, pattern) for pattern in known):
        return ""
    own = name.removeprefix(PREFIX)
    if own in known or own.startswith("OTEL_"):
        return f"write {own}"
    bare = {each.removeprefix(PREFIX): each for each in known if each.startswith(PREFIX) and "*" not in each}
    cutoff = 0.0 if strict else NEAR
    if near := get_close_matches(own, bare, n=1, cutoff=cutoff):
        return f"there is no such setting; {bare[near[0]]} is the nearest"
    return ""


def _given(pattern: str, variables: Mapping[str, str]) -> str | dict[str, str]:
    """The value of the variable; of a pattern, the value of each variable that matches."""
    if "*" not in pattern:
        return variables.get(pattern, "")
    before, after = pattern.split("*")
    fitting = {name: value for name, value in variables.items() if value and fnmatchcase(name, pattern)}
    return {name.removeprefix(before).removesuffix(after): value for name, value in fitting.items()}


def _named(names: Mapping[str, str], location: tuple[int | str, ...]) -> str:
    first, *inside = map(str, location or ("?",))
    return names.get(first, first).replace("*", inside[0] if inside else "*")
