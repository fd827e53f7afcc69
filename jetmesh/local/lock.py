"""Files that a process locks for as long as it lives, with its id in them."""

import fcntl
from pathlib import Path
from typing import IO, Any

import click


class LockHeld(Exception):
    """Another process holds the file; the text is its id."""


def lock(path: Path) -> IO[Any]:
    """Lock a file until all processes that inherited it have closed it.

    Raises:
        LockHeld: another process holds it.
        click.ClickException: the file belongs to another user.
    """
    try:
        file = path.open("a+")
    except OSError as error:
        advice = f"{path.parent} is another user's: name a folder of your own with --state"
        raise click.ClickException(f"{path}: {error.strerror}; {advice}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise LockHeld(holder) from None
    return file


def is_held(path: Path) -> bool:
    """Whether a living process holds the file."""
    if not path.exists():
        return False
    try:
        lock(path).close()
    except LockHeld:
        return True
    return False


def write_pid(file: IO[Any], pid: int) -> None:
    """Write the process id into a locked file."""
    file.truncate(0)
    file.write(str(pid))
    file.flush()
