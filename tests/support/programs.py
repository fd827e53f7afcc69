"""The real programs that tests run, where `just tools` puts them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def program(name: str, tool: str = "") -> str:
    """Where the program is. Without it the test is skipped; in CI, where every tool must be there, it fails."""
    path = found(name)
    if not path:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"no {name}; `just tools {tool or name}` builds it")
    return str(path)


def found(name: str) -> str | None:
    """Where the program is; None without it."""
    return shutil.which(name, path=ROOT / ".tools" / "bin") or shutil.which(name)


def run(*command: str, status: int = 0, **options: object) -> str:
    """What the command prints, both ways; its exit status must be this one."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    said: str = done.stdout + done.stderr
    assert done.returncode == status, f"{' '.join(command)} ended with {done.returncode}:\n{said}"
    return said
