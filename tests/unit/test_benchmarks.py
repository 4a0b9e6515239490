"""The benchmarks still run; what they measure is in ``benchmarks/RESULTS.md``, and no test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pytest_mock import MockerFixture

import benchmarks
from benchmarks import calls, codec, events, imports
from tests.integration.airflow_runs import dag_bag


def rows(report: str) -> list[list[str]]:
    """Return the cells of the table's lines, without its head."""
    lines = [line for line in report.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_codec_compares_the_same_work() -> None:
    table = rows(codec.report(rounds=1, calls=2))
    assert [cells[0] for cells in table] == ["sign", "build", "parse", "sum", "parse all"]
    assert all(float(figure) > 0 for cells in table for figure in cells[1:])


def test_codec_refuses_to_compare_other_work() -> None:
    ours, sdk = codec.ours(), codec.sdk()
    sdk["build"] = lambda: b"<Request><Tag>VoiceSeparate</Tag></Request>"
    with pytest.raises(AssertionError, match="different documents"):
        codec.check_same_work(ours, sdk)


def test_calls_are_answered_on_all_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BENCHMARK", "set by the benchmark, and taken away by the test")
    table = rows(calls.report(rounds=1, calls=2))
    assert [cells[0].partition(",")[0] for cells in table] == ["submit", "describe"] * 2
    assert all(float(figure) > 0 for cells in table for figure in cells[1:])


def test_imports_says_what_to_install(mocker: MockerFixture) -> None:
    mocker.patch.object(imports, "PEERS", ("airflow.providers.not_installed.operators.any",))
    mocker.patch.object(sys, "argv", ["imports"])
    with pytest.raises(SystemExit, match=r"not_installed.*pip install apache-airflow-providers-amazon"):
        imports.main()


def test_the_dags_parse() -> None:
    bag = dag_bag(str(Path(benchmarks.__file__).parent / "dags"))
    assert not bag.import_errors
    ours = {"waits_sync", "waits_sensor", "waits_deferrable", "ours_deferrable", "ours_sync", "python_sdk"}
    assert ours <= set(bag.dag_ids)


def test_events_counts_what_is_missing_and_what_came_again() -> None:
    figures = events.figures_of(
        ended={"j1": 10.0, "j2": 20.0, "j3": 30.0},
        stored=[("j1", 12.0), ("j2", 21.0), ("j1", 40.0)],
        kills=1,
        seconds=50,
        lists=12,
        describes=0,
    )
    table = dict(rows(events.report(figures)))
    assert table["ends without an event"] == "1"
    assert table["events that came again"] == "1 (33.33%)"
    assert table["end to stored event, s: median"] == "1.5"
    assert table["list requests"] == "12"
