"""The one line with which a command that fails ends."""

import errno
import os
import traceback

from jetmesh.failure import Unavailable
from jetmesh.jetstream.errors import ApiError, ErrorCode, error_code_of
from jetmesh.settings import Debugging, read
from jetmesh.topology.provision import Drift

EXPECTED = (ValueError, TypeError, ConnectionError, LookupError, ApiError, Drift, Unavailable)
NAMELESS = (KeyError, IndexError)
"""Errors whose text is the key that was looked for, and no sentence."""
OPERATOR = "only an operator's key may do this: JETMESH_NATS_NKEY_SEED names its file"
PLACES = {
    errno.ENOENT: "the current folder was deleted: change to another",
    errno.ENOSPC: "make room where this writes, or let it write elsewhere",
    errno.EDQUOT: "make room where this writes, or let it write elsewhere",
    errno.EMFILE: "allow more open files (ulimit -n)",
}
"""What to do about an error of the operating system that names no file."""


def needs_operator(error: BaseException) -> bool:
    """Whether the broker refused it because this user's account has no JetStream."""
    return error_code_of(error) == ErrorCode.NOT_ENABLED_FOR_ACCOUNT


def advised(words: str, error: BaseException) -> str:
    """The error text, with the advice to use an operator's key if that helps."""
    return f"{words}; {OPERATOR}" if needs_operator(error) and OPERATOR not in words else words


def sentence(error: Exception) -> str:
    """The error as a sentence. An unexpected error names its file and line."""
    if isinstance(error, ExceptionGroup):
        return sentence(error.exceptions[0])
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.errno in PLACES:
        return f"{error.strerror}: {PLACES[error.errno]}"
    if isinstance(error, UnicodeEncodeError):
        return f"{error.object[:80]!r} is no text: it has bytes that are no UTF-8"
    if isinstance(error, EXPECTED) and not isinstance(error, NAMELESS):
        return str(error)
    if read(Debugging).log_level == "DEBUG":
        return "".join(traceback.format_exception(error))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    advice = "JETMESH_LOG_LEVEL=DEBUG prints where it comes from"
    return f"{type(error).__name__}: {error} ({place}): a fault of the command itself; {advice}"
