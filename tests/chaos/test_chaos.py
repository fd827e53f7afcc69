"""A short run of the chaos, so that every commit knows that it works; `just chaos` is the proof."""

import re
import subprocess
import sys

SECONDS_MAX = 150
KINDS = ("SIGKILL of a service", "SIGKILL between recording and ack", "broker SIGKILL", "connections cut")


def test_the_books_balance_after_a_short_storm() -> None:
    only = [word for kind in KINDS for word in ("--only", kind)]
    command = [sys.executable, "-m", "tests.chaos", "--orders", "80", "--seconds", "8", "--deadline", "12", *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in KINDS:
        assert re.search(rf"{kind} +[1-9]", done.stdout), done.stdout
