"""Free ports on loopback."""

import errno
import random
import socket
from itertools import islice

HOST = "127.0.0.1"
SERVERS = range(10_000, 32_768)
"""Below the ports of outgoing connections: the system could give away one of those before its server starts."""


def free_ports(count: int) -> list[int]:
    """Different ports that are free now."""
    free = (port for port in random.sample(SERVERS, len(SERVERS)) if not is_taken(port))
    return list(islice(free, count))


def free_port() -> int:
    """A port that is free now."""
    return free_ports(1)[0]


def is_taken(port: int) -> bool:
    """Whether a process listens there, or the port may not be used."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return True
        raise
    return False
