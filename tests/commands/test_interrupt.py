"""Ctrl-C while the command's modules are still loaded."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("loading", ["pydantic", "jetmesh.commands", "jetmesh.local"], ids=str)
def test_it_ends_the_command_quietly(tmp_path: Path, loading: str) -> None:
    options = ["--free-ports", "--state", str(tmp_path)]
    command = [sys.executable, "-X", "importtime", "-m", "jetmesh", "demo", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        said = next(line for line in process.stderr if loading in line)
        process.send_signal(signal.SIGINT)
        told = said + process.stderr.read() + process.stdout.read()
    words = [line for line in told.splitlines() if not line.startswith("import time:")]
    assert not [line for line in words if "Traceback" in line or "Abort" in line or "Interrupt" in line]
    assert process.returncode in (0, 130)
