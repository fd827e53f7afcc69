"""How a command ends that can't do what it was asked: with one line."""

import os
import traceback

from jetmesh.failure import Unavailable
from jetmesh.provision import Drift

EXPECTED = (ValueError, TypeError, ConnectionError, LookupError, Drift, Unavailable)
NAMELESS = (KeyError, IndexError)
"""Lookups whose text is what was looked for, and no sentence."""


def sentence(error: Exception) -> str:
    """What is wrong. An error that nobody has thought of says where it comes from."""
    if isinstance(error, ExceptionGroup):
        return sentence(error.exceptions[0])
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, EXPECTED) and not isinstance(error, NAMELESS):
        return str(error)
    if os.environ.get("JETMESH_LOG_LEVEL") == "DEBUG":
        return "".join(traceback.format_exception(error))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    advice = "JETMESH_LOG_LEVEL=DEBUG prints where it comes from"
    return f"{type(error).__name__}: {error} ({place}): a fault of the command itself; {advice}"
