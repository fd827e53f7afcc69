"""Where the command `jetmesh` and `python -m jetmesh` begin: Ctrl-C ends them without a traceback while modules are
loaded, which takes most of a second."""

import os
import signal

from jetmesh.common.exit_status import INTERRUPTED


def main() -> None:
    """Load the commands and run one."""
    # An exception would be lost where it is raised in a callback of the import system.
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    from jetmesh.commands import main as run

    run(loaded=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))


if __name__ == "__main__":
    main()
