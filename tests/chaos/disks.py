"""A disk of a broker's own, small enough to be filled: where it may be mounted."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

MEGABYTES = 96
FILLER = "filler"


def why_not() -> str:
    """Why no small disk can be mounted here; empty where it can."""
    if sys.platform != "linux":
        return "a small disk is Linux's tmpfs"
    if os.geteuid() != 0:
        return "only root may mount a small disk"
    if shutil.which("mount") is None:
        return "there is no `mount` to mount a small disk with"
    return ""


class Disk:
    """A tmpfs at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self) -> None:
        """Put it there; nothing may be in the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(self.folder)], check=True)

    def unmount(self) -> None:
        """Take it away, with all that is on it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=False)

    def fill(self) -> None:
        """Write until there is no room."""
        with (self.folder / FILLER).open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(1 << 16))

    def make_room(self) -> None:
        """Take away what filled it."""
        (self.folder / FILLER).unlink(missing_ok=True)
