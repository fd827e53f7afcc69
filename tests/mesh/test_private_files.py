"""What the mesh keeps in files is for its owner alone, whatever the shell's umask says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetmesh.local.state import StateFolder
from jetmesh_shop.reference.state import Stores

KEEPERS = {
    "spans": ("jetmesh.local.span_receiver", "--port", "0", "--path"),
    "mails": ("jetmesh_shop.reference.mailsink", "--port", "0", "--path"),
}


@pytest.mark.parametrize("what", KEEPERS)
def test_a_program_of_its_own_keeps_its_file_private(tmp_path: Path, what: str) -> None:
    file = tmp_path / "deep" / f"{what}.sqlite"
    command = [sys.executable, "-m", *KEEPERS[what], str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, umask=0o022) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.terminate()
    made = [file.parent, *file.parent.iterdir()]
    assert [oct(path.stat().st_mode & 0o777) for path in made if path.stat().st_mode & 0o077] == []


def test_a_command_keeps_private_what_it_writes_and_source_text_for_everybody(tmp_path: Path) -> None:
    environment = {**os.environ, "JETMESH_APP": "jetmesh_shop.flow:SERVICES"}
    for command in (["topology", "permissions", "keys"], ["new", "service", "parcels"]):
        subprocess.run(
            [sys.executable, "-m", "jetmesh", *command], cwd=tmp_path, env=environment, umask=0o022, check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    modes = {path.relative_to(tmp_path).parts[0]: path.stat().st_mode & 0o077 for path in tmp_path.rglob("*.*")}
    assert modes == {"keys": 0, "parcels": 0o044}


def test_what_an_earlier_demo_left_open_is_closed_and_nothing_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    state, stores, others = StateFolder(tmp_path), Stores(tmp_path), tmp_path / "others.txt"
    for file in (stores.bank, tmp_path / "bank.sqlite-wal", stores.mails, others):
        file.touch(0o644)
        file.chmod(0o644)
    state.logs.mkdir(mode=0o755)
    with state.held([stores.bank, stores.mails]):
        closed = [stores.bank, tmp_path / "bank.sqlite-wal", stores.mails, state.logs]
        assert [oct(path.stat().st_mode & 0o777) for path in closed] == ["0o600", "0o600", "0o600", "0o700"]
        assert [path.stat().st_mode & 0o777 for path in (tmp_path, others)] == [0o755, 0o644]
