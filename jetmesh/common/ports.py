"""Ports on loopback: those that nobody uses."""

import errno
import random
import socket
from itertools import islice

HOST = "127.0.0.1"
SERVERS = range(10_000, 32_768)
"""Below those that outgoing connections are given: one of them may be gone before its server starts."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now, all different."""
    free = (port for port in random.sample(SERVERS, len(SERVERS)) if not is_taken(port))
    return list(islice(free, count))


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def is_taken(port: int) -> bool:
    """Whether somebody listens there (or the port may not be used at all)."""
    try:
        socket.create_server((HOST, port)).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return True
        raise
    return False
