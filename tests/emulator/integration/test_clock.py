"""An emulator whose time stands still until the test lets it pass."""

from __future__ import annotations

import time

from tencent_ci_emulator.clock import VirtualClock
from tencent_ci_emulator.server import Emulator
from tests.emulator.integration.test_faults import AdminClient, document, submitted
from tests.emulator.integration.test_http import JOB, Client
from tests.recording import SHORT

START = 1_700_000_000.0


def states(emulator):
    return [job.state for job in emulator.ledger.accepted_jobs()]


def test_jobs_of_an_hour_on_the_virtual_clock():
    begun = time.monotonic()
    with Emulator(clock=VirtualClock(START), queue_seconds=600, run_seconds=1800) as emulator:
        client = Client(emulator)
        assert client("PUT", "/in/a.mp3", SHORT.read_bytes())[0].status == 200
        job_id = submitted(client)
        emulator.clock.advance(599)
        assert states(emulator) == ["Submitted"]
        emulator.clock.advance(1)
        assert states(emulator) == ["Running"]
        late = submitted(client, JOB.replace("in/a.mp3", "in/none.mp3"))
        emulator.clock.advance(1799)
        assert states(emulator) == ["Running", "Running"]
        emulator.clock.advance(3600)
        first, second = emulator.ledger.accepted_jobs()
        assert [first.job_id, second.job_id] == [job_id, late]
        assert (first.state, second.state) == ("Success", "Failed")
        assert (first.created, first.started, first.ended) == (START, START + 600, START + 2400)
        assert (second.created, second.started, second.ended) == (START + 600, START + 1200, START + 3000)
        detail = document(client, "GET", f"/jobs/{job_id}").find("JobsDetail")
        assert detail.findtext("StartTime") == "2023-11-15T06:23:20+0800"
        assert client("GET", f"/out/v.{'aac'}")[0].status == 200
    assert time.monotonic() - begun < 1800  # true seconds, of the 6000 of the clock


def test_jobs_of_a_full_queue_follow_each_other_at_their_own_times():
    with Emulator(clock=VirtualClock(START), run_seconds=60, queue_max_concurrent=2) as emulator:
        client = Client(emulator)
        for _ in range(6):
            submitted(client)
        emulator.clock.advance(3600)
        jobs = emulator.ledger.accepted_jobs()
        assert {job.state for job in jobs} == {"Failed"}
        assert [job.started - START for job in jobs] == [0, 0, 60, 60, 120, 120]
        assert [job.ended - START for job in jobs] == [60, 60, 120, 120, 180, 180]


def test_the_fault_plan_keeps_a_job_running():
    with Emulator(clock=VirtualClock(START), run_seconds=10) as emulator:
        emulator.faults.add("job", nth=1, delay=3600)
        submitted(Client(emulator))
        emulator.clock.advance(3609)
        assert states(emulator) == ["Running"]
        emulator.clock.advance(1)
        assert states(emulator) == ["Failed"]


def test_an_early_callback_delays_the_end():
    with Emulator(clock=VirtualClock(START)) as emulator:
        emulator.faults.add("callback", callback="early", delay=30)
        callback = "<CallBack>http://192.0.2.1/</CallBack></Request>"
        submitted(Client(emulator), JOB.replace("</Request>", callback))
        emulator.clock.advance(29)
        assert states(emulator) == ["Running"]
        assert [record.state for record in emulator.ledger.callbacks()] == ["Failed"]
        emulator.clock.advance(1)
        assert states(emulator) == ["Failed"]
        assert len(emulator.ledger.callbacks()) == 1


def test_a_late_callback_is_sent_after_the_end():
    with Emulator(clock=VirtualClock(START), run_seconds=10) as emulator:
        emulator.faults.add("callback", callback="late", delay=30)
        callback = "<CallBack>http://192.0.2.1/</CallBack></Request>"
        submitted(Client(emulator), JOB.replace("</Request>", callback))
        emulator.clock.advance(39)
        assert states(emulator) == ["Failed"]
        assert emulator.ledger.callbacks() == []
        emulator.clock.advance(1)
        assert [(one.state, one.time) for one in emulator.ledger.callbacks()] == [("Failed", START + 40)]


def test_signatures_are_checked_by_the_true_time():
    with Emulator(clock=VirtualClock(START)) as emulator:
        emulator.clock.advance(10_000_000)
        assert Client(emulator)("GET", "/jobs/j1")[0].status == 200


def test_the_clock_by_the_admin_path():
    with Emulator(clock=VirtualClock(START), queue_seconds=60) as emulator:
        admin = AdminClient(emulator)
        submitted(Client(emulator))
        assert admin("GET", "/_emulator/clock") == (200, {"now": START, "virtual": True})
        assert admin("POST", "/_emulator/clock", {"advance": 60}) == (
            200,
            {"now": START + 60, "virtual": True},
        )
        assert states(emulator) == ["Failed"]
        for bad in ({}, {"advance": -1}, {"advance": True}, {"advance": "1"}, [], {"advance": 1e10}):
            assert admin("POST", "/_emulator/clock", bad)[0] == 400
    with Emulator() as emulator:
        status, answer = AdminClient(emulator)("POST", "/_emulator/clock", {"advance": 60})
        assert (status, "--virtual-clock" in answer["error"]) == (409, True)


def test_an_emulator_stops_while_time_stands_still():
    clock = VirtualClock(START)
    with Emulator(clock=clock, queue_seconds=60) as emulator:
        submitted(Client(emulator))
    clock.advance(100)
    with Emulator(clock=clock, run_seconds=60) as emulator:
        submitted(Client(emulator))
        clock.advance(60)
        assert states(emulator) == ["Failed"]
