"""How the emulator is used from Python, as docs/emulator.md and docs/testing-dags.md show it."""

# ruff: noqa: B018 - a page shows what there is

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tencent_ci_emulator.server import Emulator as _Emulator


def start() -> dict[str, Any]:
    """Start one, and return what it says of itself."""
    # [START start]
    from tencent_ci_emulator.server import Emulator

    with Emulator(queue_seconds=1) as emulator:
        emulator.url  # http://127.0.0.1:<free port>
        emulator.connection  # the connection above, as a dict
        # [END start]
        return {"url": emulator.url, "connection": emulator.connection, "admin_url": emulator.admin_url}


def read_ledger(emulator: _Emulator, job_id: str) -> list[Any]:
    """Return what the ledger holds of one submitted job."""
    # [START ledger]
    requests = emulator.ledger.requests("submit", status=200)  # the newest 10,000
    count = emulator.ledger.count("submit")  # all since the start
    jobs = emulator.ledger.accepted_jobs(key="in/song.mp3", user_data="my data")
    paid = emulator.ledger.jobs_of_inputs("in/")  # how many jobs each input has had
    sent = emulator.ledger.callbacks(job_id)  # the newest 1,000, each with its outcome
    # [END ledger]
    return [requests, count, jobs, paid, sent]


def let_time_pass(submit_my_jobs: Callable[[_Emulator], None]) -> list[Any]:
    """Do half an hour's jobs at once."""
    # [START clock]
    from tencent_ci_emulator.clock import VirtualClock
    from tencent_ci_emulator.server import Emulator

    with Emulator(clock=VirtualClock(), queue_seconds=600, run_seconds=1800) as emulator:
        submit_my_jobs(emulator)
        emulator.clock.advance(3600)  # returns when everything that is due in this hour is done
        # [END clock]
        return [job.state for job in emulator.ledger.accepted_jobs()]
