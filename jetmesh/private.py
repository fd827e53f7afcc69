"""What the mesh keeps in files is for its owner alone: orders with addresses, payments, mails, traces and logs."""

import os
from pathlib import Path

OWNER_ALONE = 0o077


def keep_private() -> None:
    """Whatever this process makes from now on, and whatever it starts, is made for its owner alone: 0600 and 0700."""
    os.umask(OWNER_ALONE)


def make_private(folder: Path) -> None:
    """Make a folder, or close one that was made for more; what is in it can't be reached by others then, however old.

    Raises:
        OSError: it can't be made, or belongs to somebody else.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & OWNER_ALONE:
        folder.chmod(0o700)
