"""Short forms of the campaigns that are also commands; those take longer and print figures."""

from __future__ import annotations

import json
import os
import sys

from tests.e2e.emulator_kill_campaign import campaign
from tests.e2e.emulator_load import large_object, many_jobs

MEGABYTE = 1024**2


def test_killed_at_any_moment_nothing_accepted_is_lost(tmp_path):
    report = campaign(tmp_path, int(os.environ.get("CI_EMULATOR_KILL_ROUNDS", "5")), seed=7)
    assert report.is_clean, report
    assert report.accepted > 0
    assert report.uploads > 0


def test_500_jobs_of_8_clients_none_lost_none_doubled(tmp_path, capsys):
    figures = many_jobs(tmp_path, jobs=500, clients=8)
    with capsys.disabled():
        sys.stdout.write(f"\n{json.dumps(figures)}\n")
    assert (figures["lost"], figures["doubled"], figures["unfinished"]) == ([], [], [])
    assert figures["stored"] == 500
    assert figures["memory_peak_mb"] < 300


def test_memory_does_not_grow_with_the_size_of_an_object(tmp_path):
    figures = large_object(tmp_path, 150 * MEGABYTE)
    assert figures["intact"]
    assert figures["memory_grown_mb"] < 25
