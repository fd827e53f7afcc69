"""The status of a command that a signal ended, as a shell says it; loaded before anything else."""

import signal

INTERRUPTED = 128 + signal.SIGINT
