"""The same hop on other runtimes: a newer CPython, where natsio runs too, and Go, where Watermill does."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks import hop
from benchmarks.figures import Row
from benchmarks.hop import Contender, Headers
from benchmarks.progress import Missing, Step

NEWER, GO = "newer-python", "go"
PYTHONS = ("3.14", "3.13")
"""The newest first; natsio needs 3.13."""
ENVIRONMENT = Path(".tools/python-newer")
WATERMILL = Path(".tools/bin/watermill")
WATERMILL_HANDLERS = "64"
"""A handler of Watermill takes one message at a time. Of 16, 64 and 256 this many were the fastest."""


async def newer_python(messages: int, rounds: int, step: Step) -> list[Row]:
    """Our hop and those by hand on the newest CPython that is here, in an environment of its own.

    Raises:
        Missing: there is none.
    """
    step("an environment for a newer Python")
    python, version = _environment()
    competing = [
        Contender("jetmesh", "jetmesh", False, messages, hop.mesh_headers, python),
        Contender("nats_py", "nats-py by hand", False, messages // 2, hop.peer_headers, python),
        Contender("natsio", "natsio by hand", False, messages, hop.peer_headers, python),
        Contender("jetmesh", "jetmesh", True, messages, hop.mesh_headers, python),
    ]
    return await hop.compete(competing, rounds, step, NEWER, f", CPython {version}")


async def go(messages: int, rounds: int, step: Step) -> list[Row]:
    """Our hop beside Watermill's JetStream.

    Raises:
        Missing: it is not built.
    """
    program = watermill()
    os.environ["WATERMILL_HANDLERS"] = WATERMILL_HANDLERS
    competing = [
        Contender("jetmesh", "jetmesh", False, messages, hop.mesh_headers),
        Contender("watermill", "Watermill, Go", False, messages, watermill_headers, program=program),
    ]
    return await hop.compete(competing, rounds, step, GO, ", beside Go")


def watermill() -> str:
    """The path of the contender in Go.

    Raises:
        Missing: it is not built.
    """
    if not WATERMILL.exists():
        raise Missing(f"{WATERMILL} is not there: `just tools watermill` builds it, with Go")
    return str(WATERMILL.absolute())


def watermill_headers(number: int, key: str) -> Headers:
    """As Watermill publishes it: its own id as well, under its own header."""
    return {"_watermill_message_uuid": f"m{number}", **hop.peer_headers(number, key)}


def _environment() -> tuple[str, str]:
    """The path of a newer Python that has everything that the contenders import, and its version."""
    found = next(newer(), None)
    if not found:
        raise Missing(
            f"no CPython {' or '.join(PYTHONS)} on this machine: `uv python install {PYTHONS[-1]}` brings one"
        )
    path, version = found
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(ENVIRONMENT.absolute())}
    command = [os.environ.get("UV", "uv"), "sync", "--quiet", "--python", path, "--group", "bench"]
    subprocess.run(command, env=environment, check=True)
    return str(ENVIRONMENT.absolute() / "bin" / "python"), version


def newer() -> Iterator[tuple[str, str]]:
    """The path and version of each newer Python: of PATH, and of pyenv, whose own command runs only the chosen ones."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv", "versions")
    for wanted in PYTHONS:
        for path in (shutil.which(f"python{wanted}"), *sorted(pyenv.glob(f"{wanted}.*/bin/python"))):
            if path and (version := _version(str(path))):
                yield str(path), version


def _version(path: str) -> str:
    """What the interpreter says of itself; empty if it does not run."""
    asked = [path, "-c", "import platform; print(platform.python_version())"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
