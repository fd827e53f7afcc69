"""`python -m benchmarks.faststream_mesh SERVICE`, with NATS_URL, JETMESH_STATE, JETMESH_CATALOGUE and OTEL_* set."""

import importlib
import sys

import uvloop
from faststream import FastStream

from benchmarks.faststream_mesh.app import new_broker


def main() -> None:
    """Run one service until SIGTERM."""
    service = sys.argv[1]
    broker, tracing = new_broker(service)
    importlib.import_module(f"benchmarks.faststream_mesh.{service}").subscribe(broker)
    uvloop.run(FastStream(broker).run())
    tracing.shutdown()


if __name__ == "__main__":
    main()
