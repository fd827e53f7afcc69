"""File modes: what the mesh keeps in files (addresses, payments, mails, traces) is for its owner alone."""

import os
from contextlib import suppress
from pathlib import Path

OWNER_ALONE = 0o077


def keep_private() -> None:
    """From now on this process and its children create files and folders for their owner alone (0600, 0700)."""
    os.umask(OWNER_ALONE)


def close(path: Path) -> None:
    """Take the permissions of group and others from a file or folder; a closed folder protects what is in it.

    A path that does not exist, or has another owner, is left alone.
    """
    with suppress(FileNotFoundError, PermissionError):
        mode = path.stat().st_mode & 0o777
        if mode & OWNER_ALONE:
            path.chmod(mode & ~OWNER_ALONE)
