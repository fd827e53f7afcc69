"""Takes whatever OTLP sends and drops it: the metrics, which Jaeger does not want; the spans of a test."""

import threading
from http.server import ThreadingHTTPServer
from typing import Self

from benchmarks.spans import Sink


class Receiver:
    """`with Receiver() as receiver`, then `receiver.url`."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
