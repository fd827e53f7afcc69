"""Pages of the mesh's own, over HTTP: no proxy is asked for them."""

import urllib.request
from http.client import HTTPException

NO_ANSWER = (OSError, ValueError, HTTPException)
"""No answer, an error status, an invalid address, or a server that does not speak HTTP."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def get(url: str, timeout_seconds: float) -> bytes:
    """What the page says. Raises one of NO_ANSWER."""
    with DIRECT.open(url, timeout=timeout_seconds) as response:
        said: bytes = response.read()
    return said
