"""What is shown before anything is paid for, and who has to agree."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from live.main import main
from live.observations import OBSERVATIONS
from live.options import read_options
from live.plan import PAID_JOBS, make_plan
from tests.live.kit import Kit, virtual_emulator


class Terminal(io.StringIO):
    """A terminal on which somebody types."""

    def isatty(self) -> bool:
        return True


def plan_of(*arguments: str) -> Any:
    return make_plan(read_options(arguments), can_create_bucket="--bucket" not in arguments)


def test_there_are_at_most_twelve_paid_jobs() -> None:
    assert len(plan_of().jobs) == len(PAID_JOBS) == 12
    assert [len(plan_of("--max-jobs", str(number)).jobs) for number in (0, 5, 12)] == [0, 5, 12]


def test_each_typed_operator_has_a_job() -> None:
    assert {job.operator for job in plan_of().jobs} - {""} == {
        "VoiceSeparateOperator",
        "TranscodeOperator",
        "NoiseReductionOperator",
        "SpeechRecognitionOperator",
        "TextToSpeechOperator",
        "TencentCIJobOperator",
    }


def test_each_observation_names_jobs_of_the_plan_and_its_own_name_once() -> None:
    names = {job.name for job in PAID_JOBS}
    assert all(names.issuperset(each.needs) for each in OBSERVATIONS)
    assert len({each.name for each in OBSERVATIONS}) == len(OBSERVATIONS)


def test_only_the_needed_jobs_are_planned() -> None:
    assert plan_of("--only", "unknown_job").jobs == ()
    assert plan_of("--only", "cancel_running").names == {"long_key"}
    assert plan_of("--bucket", "media-1250000001", "--only", "unbound_bucket").jobs == ()


def test_the_cost_has_what_is_known_and_says_what_is_not() -> None:
    said = "\n".join(plan_of().lines())
    price = "0.012 USD (the international site's in 2023)"
    assert f"VoiceSeparate: 3 minutes x {price} = 0.0360 USD" in said
    assert "Transcode: 5 minutes; the price is not known here" in said
    assert "bounds the number and length of the jobs, not the money: 0.0360 USD is only the sum of" in said
    assert "Together" not in said


def test_prices_of_the_user_count() -> None:
    prices = {"VoiceSeparate": 1, "Transcode": 2, "NoiseReduction": 3, "SpeechRecognition": 4}
    prices |= {"Tts": 0.1, "MediaInfo": 5}
    options = [text for tag, price in prices.items() for text in ("--price", f"{tag}={price}")]
    lines = plan_of(*options).lines()
    assert "  VoiceSeparate: 3 minutes x 1 USD (yours) = 3.0000 USD" in lines
    assert "  Together, by these prices: 29.3000 USD" in lines
    assert "not the money" not in "\n".join(lines)


def test_a_plan_without_paid_jobs_has_no_cost() -> None:
    said = "\n".join(plan_of("--only", "unknown_job").lines())
    assert "No paid jobs." in said
    assert "billed" not in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--only", "progres"], "--only is progres, allowed: "),
        (["--price", "Voice=1"], "--price is for Voice, allowed: MediaInfo "),
    ],
)
def test_names_that_do_not_exist_are_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        plan_of(*arguments)


@pytest.mark.parametrize(
    "arguments",
    [["--price", "Tts"], ["--price", "Tts=-1"], ["--max-jobs", "13"], ["--poll", "0"], ["--patience", "x"]],
)
def test_options_that_are_not_allowed_are_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read_options(arguments)
    assert "allowed: " in capsys.readouterr().err


def test_without_a_connection_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_TENCENT_CI_LIVE", raising=False)
    assert main([]) == 2
    assert "export AIRFLOW_CONN_TENCENT_CI_LIVE=" in capsys.readouterr().out


#: Whatever a run is limited to, it writes into the account.
LIMITS = [(), ("--only", "listed_tags"), ("--max-jobs", "0")]


@pytest.mark.parametrize("options", LIMITS)
@pytest.mark.parametrize("in_bucket", [False, True])
def test_without_a_terminal_nothing_is_created(options: tuple[str, ...], in_bucket: bool, kit: Kit) -> None:
    with virtual_emulator() as emulator:
        where = ("--bucket", emulator.bucket) if in_bucket else ()
        outcome = kit.run(emulator, *options, *where, terminal=io.StringIO("pay\n"))
        assert (outcome.status, emulator.ledger.count()) == (2, 0)
    assert "ARGS=--yes" in outcome.said
    assert not kit.journals.exists()


@pytest.mark.parametrize("options", LIMITS)
@pytest.mark.parametrize("typed", ["", "\n", "yes\n", "PAY\n"])
def test_another_word_creates_nothing(typed: str, options: tuple[str, ...], kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *options, terminal=Terminal(typed))
        assert (outcome.status, emulator.ledger.count()) == (2, 0)
    assert "Nothing was created." in outcome.said


@pytest.mark.parametrize(
    ("options", "question", "jobs"),
    [
        (("--only", "job_id_length"), "Type pay to create a bucket and submit these jobs;", 1),
        (("--only", "unknown_job"), "Type pay to create a bucket;", 0),
        (
            ("--only", "unknown_job", "--bucket", "demo-1250000000"),
            "Type pay to write below a new prefix of that bucket;",
            0,
        ),
    ],
)
def test_the_word_agrees(options: tuple[str, ...], question: str, jobs: int, kit: Kit) -> None:
    with virtual_emulator() as emulator:
        outcome = kit.run(emulator, *options, terminal=Terminal("pay\n"))
        assert (outcome.status, len(emulator.ledger.accepted_jobs())) == (0, jobs)
    assert question in outcome.said
    assert set(outcome.observed) == {options[1]}


def test_a_report_that_could_not_be_written_is_refused_before_anything_is_created(
    kit: Kit, tmp_path: Path
) -> None:
    exists = tmp_path / "exists.json"
    exists.write_text("mine")
    with virtual_emulator() as emulator:
        for path, problem in ((exists, "which exists already"), (tmp_path / "none" / "r.json", "may write")):
            outcome = kit.run(emulator, "--yes", "--report", str(path))
            assert (outcome.status, emulator.ledger.count()) == (2, 0)
            assert f"--report is {path}" in outcome.said
            assert problem in outcome.said
    assert exists.read_text() == "mine"


def test_the_command_that_cleans_has_the_same_connection_and_folder() -> None:
    assert read_options([]).clean_command == "make live-clean"
    options = read_options(["--conn-id", "mine", "--folder", "runs"])
    assert options.clean_command == "make live-clean ARGS='--conn-id mine --folder runs'"
