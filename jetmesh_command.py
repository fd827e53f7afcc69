"""Where the command `jetmesh` begins: outside of the package, which takes most of a second to load, so that Ctrl-C ends
it without a traceback while that goes on."""

import os
import signal

INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Load the commands and run one."""
    # An exception would be lost where it is raised in a callback of the import system.
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from jetmesh.commands import main as run

    run(loaded=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


if __name__ == "__main__":
    main()
