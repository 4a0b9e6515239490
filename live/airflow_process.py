"""``python -m live.airflow_process``: prepares an Airflow and runs the DAG, and ends when the kit ends.

Its standard input is a pipe of the kit, which is closed then, however the kit ends. Otherwise a DAG would
submit paid jobs after a kit that was killed, and nobody would remove their results.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

_COMMANDS = (("db", "migrate"), ("dags", "test", "live_jobs"))


def _end_with_the_kit() -> None:
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)  # the commands, too, which are in the same group


def main() -> int:
    """Run the commands; return the exit status of the last one."""
    threading.Thread(target=_end_with_the_kit, daemon=True).start()
    status = 0
    for command in _COMMANDS:
        status = subprocess.run(  # noqa: S603 - no shell
            [sys.executable, "-m", "airflow", *command], stdin=subprocess.DEVNULL, check=False
        ).returncode
        if status:
            break
    return status


if __name__ == "__main__":
    sys.exit(main())
