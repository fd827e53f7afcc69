"""What the mesh keeps in files is for its owner alone: orders with addresses, payments, mails, traces and logs."""

import os
from contextlib import suppress
from pathlib import Path

OWNER_ALONE = 0o077


def keep_private() -> None:
    """Whatever this process makes from now on, and whatever it starts, is made for its owner alone: 0600 and 0700."""
    os.umask(OWNER_ALONE)


def close(path: Path) -> None:
    """Take from others what they may do with a file or a folder that was made for more; what is in a folder is out of
    their reach then. Nothing where it is not there, or somebody else's."""
    with suppress(FileNotFoundError, PermissionError):
        mode = path.stat().st_mode & 0o777
        if mode & OWNER_ALONE:
            path.chmod(mode & ~OWNER_ALONE)
