"""Who runs this process, as the log of operators names him."""

import getpass
import os
import socket


def own_name() -> str:
    """The user and the host; the user's number where he has no name, as often in a container."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
