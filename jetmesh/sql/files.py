"""Files of the outside world that may be damaged, or somebody else's: one error that names the file and the fix."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Unusable(ValueError):
    """A file can't be used; the text says which, why, and what to do."""


@contextmanager
def usable(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Work with a file, whose `errors` mean that it is not what it must be.

    Raises:
        Unusable: it is not, or may not be used.
    """
    try:
        yield
    except OSError as error:
        fix = "give it to the user who runs this, or name another"
        raise Unusable(f"{what} {path}: {error.strerror or error}: {fix}") from error
    except errors as error:
        words = " ".join(str(error).split())
        if "is locked" in words:
            raise Unusable(f"{what} {path} is held by another process: try again") from error
        fix = "restore it from a backup, or move it away and begin a new one"
        raise Unusable(f"{what} {path} can't be used ({words}): {fix}") from error
