"""Written is not kept: a file, or a folder's names, survives a power cut once the disk has it."""

import os
from pathlib import Path


def to_disk(path: Path) -> None:
    """Have the disk keep a file, or a folder's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
