"""The commands of a console block, as bash would call them, and who reads their arguments."""

import importlib
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import click

from jetmesh.commands import commands as jetmesh_commands
from tests.support.programs import ROOT, program

Arguments = Sequence[str]

FIELD, RECORD = "\x1f", "\x1e"
RECORDED = """
command_not_found_handle() {
  local call; printf -v call '%s\\x1f' "$@"; printf '%s\\x1e' "$call" >> "$CALLS"
}
"""
"""In place of every program: write down the call."""


def called(text: str, folder: Path) -> list[list[str]]:
    """The calls of a block, made by bash itself: loops, substitutions, pipes and redirections are its own."""
    calls = folder / "calls"
    calls.touch()
    script = RECORDED + re.sub(r"(?:/opt/\w+/bin|\$\w+/bin)/", "", text)
    done = subprocess.run(
        ["/bin/bash", "-uc", script], cwd=folder, env={"PATH": "/nowhere", "CALLS": str(calls)}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "syntax error" not in done.stderr, done.stderr
    assert "No such file" not in done.stderr, done.stderr
    return [call.split(FIELD)[:-1] for call in calls.read_text().split(RECORD)[:-1]]


def jetmesh(arguments: Arguments) -> None:
    """The command's own parser, whose types are checked and whose function is not called."""
    command: click.Command = jetmesh_commands
    context = command.make_context("jetmesh", list(arguments)) if arguments else None
    while context is not None and isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None, name
        command = found
        context = found.make_context(name or "", rest, parent=context)


def just(arguments: Arguments) -> None:
    """A recipe of the justfile; what it calls reads the rest."""
    recipe, *rest = arguments
    assert recipe in _recipes()
    if recipe in ("demo", "load"):
        jetmesh([recipe, *rest])
    elif recipe in MODULES:
        main: click.Command = importlib.import_module(MODULES[recipe]).main
        main.make_context(recipe, rest)


MODULES = {"bench": "benchmarks.__main__", "chaos": "tests.chaos.__main__"}


@cache
def _recipes() -> set[str]:
    found = subprocess.run(["just", "--summary"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(found.stdout.split())


def uv(arguments: Arguments) -> None:
    """`uv run PROGRAM …`: the program's reader."""
    if arguments[0] == "run":
        READERS[arguments[1]](arguments[2:])
    else:
        help_of("uv")(arguments)


def help_of(name: str) -> Callable[[Arguments], None]:
    """A reader that looks for each option in what the program's own `--help` prints for that command."""

    def read(arguments: Arguments) -> None:
        verbs = _verbs(arguments)
        known = _help(name, tuple(verbs))
        options = {part.partition("=")[0] for part in arguments if part.startswith("-") and part != "-"}
        unknown = {option for option in options if not re.search(rf"(^|[\s,]){re.escape(option)}\b", known)}
        assert not unknown, f"{name} {' '.join(verbs)} has no {unknown}:\n{known}"

    return read


VERBS = {
    "consumer", "stream", "get", "ls", "edit", "pub", "sub", "account", "info", "upgrade", "install", "test", "create",
    "secret", "generic", "namespace", "apply", "delete", "sync", "rollback", "uninstall", "server", "report",
}  # fmt: skip


def _verbs(arguments: Arguments) -> list[str]:
    """The command's name: the words of it, from the first that is one."""
    words = [part for part in arguments if not part.startswith("-")]
    start = next((number for number, word in enumerate(words) if word in VERBS), len(words))
    found: list[str] = []
    for word in words[start:]:
        if word not in VERBS:
            break
        found.append(word)
    return found


@cache
def _help(name: str, verbs: tuple[str, ...]) -> str:
    found = program(name) if name != "uv" else "uv"
    done = subprocess.run([found, *verbs, "--help"], capture_output=True, text=True, check=False, env={**os.environ})
    more = subprocess.run([found, "options"], capture_output=True, text=True, check=False).stdout
    return done.stdout + done.stderr + (more if name == "kubectl" else "")


def only_bash(_: Arguments) -> None:
    """Bash alone has read it: the program is not on every machine, or needs what a test may not touch."""


READERS: Mapping[str, Callable[[Arguments], None]] = {
    "jetmesh": jetmesh,
    "just": just,
    "uv": uv,
    "nats": help_of("nats"),
    "nats-server": help_of("nats-server"),
    "helm": help_of("helm"),
    "kubectl": help_of("kubectl"),
    "pip": only_bash,  # it would install into the test's own environment
    "python3": only_bash,  # makes a virtual environment in /opt
    "docker": only_bash,  # needs a container engine; tests/deploy reads the Dockerfile
    "install": only_bash,  # writes to /etc as root; tests/deploy runs what it installs
    "systemctl": only_bash,  # needs systemd
    "openssl": only_bash,  # a secret for /etc
    "date": only_bash,  # of the operating system
}
"""Who reads the arguments of each program that a page calls. A program that is not here fails the test."""
