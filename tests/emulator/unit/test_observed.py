"""What a report of ``make live`` may say, and the error for what it may not."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.observed import (
    _ANSWERS,
    ASSUMED,
    CancelOutcome,
    ObservedBehaviour,
    ObservedError,
    Refusal,
)


def report(**observed):
    observations = {
        name: {"question": "?", "assumed": None, "observed": value} for name, value in observed.items()
    }
    return {"version": 1, "provider": "0.1.0", "observations": observations, "not_observed": {}}


def test_every_question_can_be_answered():
    assert [field.name for field in fields(ObservedBehaviour)] == [*_ANSWERS]


def test_without_observations_it_is_what_the_emulator_assumes():
    assert ObservedBehaviour.read(report()) == ASSUMED


def test_observations_are_read():
    observed = ObservedBehaviour.read(
        report(
            user_data_in_list=False,
            list_lag_seconds=7,
            listed_tags={"Tts": False},
            unknown_job={"status": 404, "code": "NoSuchJob"},
            cancel_running={"status": 200, "effect": "cancelled"},
            cancel_ended={"status": 403, "effect": "none", "code": "AccessDenied"},
            unbound_bucket="accepted",
            codec_containers={"ogg": {"opus": False}},
            job_id_length=20,
            timestamps_offset="+0000",
        )
    )
    assert (observed.user_data_in_list, observed.list_lag_seconds, observed.job_id_length) == (False, 7, 20)
    assert observed.unknown_job == Refusal(404, "NoSuchJob")
    assert observed.cancel_running == CancelOutcome(200, True)
    assert observed.cancel_ended == CancelOutcome(403, False, "AccessDenied")
    assert observed.unbound_bucket == "accepted"
    assert observed.codec_containers == {"ogg": {"opus": False}}
    unknown_job = {"status": 200, "form": "empty"}
    assert ObservedBehaviour.read(report(unknown_job=unknown_job)).unknown_job == "empty"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("user_data_in_list", "yes", "true or false"),
        ("user_data_in_list", None, "true or false"),
        ("list_lag_seconds", -1, "0 to 86400"),
        ("list_lag_seconds", True, "0 to 86400"),
        ("list_order_by_time_asc", "sometimes", "honoured, ignored"),
        ("listed_tags", {"Tts": "yes"}, "each true or false"),
        ("unknown_job", {"status": 200, "form": "none"}, "NonExistJobIds"),
        ("unbound_bucket", {"status": 200, "code": "Fine"}, "300 to 599"),
        ("unbound_bucket", {"status": 403}, '"code"'),
        ("unbound_bucket", {"status": 403, "code": "a b"}, '"code"'),
        ("cancel_running", {"status": 200}, '"effect"'),
        ("cancel_running", {"status": 204, "effect": "none"}, "300 to 599"),
        ("cancel_running", {"status": 400, "effect": "all"}, '"cancelled"'),
        ("long_result_key", "refused", "accepted, or an object"),
        ("codec_containers", {"ogg": True}, "an object of codecs"),
        ("job_id_length", 8, "9 to 128"),
        ("timestamps_offset", "Z", "+0800"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(name, value, allowed):
    with pytest.raises(ObservedError) as caught:
        ObservedBehaviour.read(report(**{name: value}))
    message = str(caught.value)
    assert message.startswith(f"observations.{name}.observed is ")
    assert allowed in message.partition("allowed: ")[2]
    assert (value if isinstance(value, str) else json.dumps(value)) in message


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"version": 2, "observations": {}}, "version is 2, allowed: 1"),
        ({"observations": {}}, "version is null, allowed: 1"),
        ({"version": True, "observations": {}}, "version is true, allowed: 1"),
        ({"version": "1", "observations": {}}, 'version is "1", allowed: 1'),
        ({"version": 1}, "observations is null, allowed: an object"),
        (report(userdata=True), "a name in observations is userdata, allowed: user_data_in_description, "),
        (
            {"version": 1, "observations": {"progress": "absent"}},
            'observations.progress is absent, allowed: an object with "observed"',
        ),
    ],
)
def test_a_report_of_another_form_is_refused(broken, message):
    with pytest.raises(ObservedError) as caught:
        ObservedBehaviour.read(broken)
    assert str(caught.value).startswith(message)


def test_a_file_that_is_no_report_is_named(tmp_path):
    file = tmp_path / "report.json"
    for content in ("{", "[]", "[" * 100_000, " " * (1 << 20) + "{}"):
        file.write_text(content)
        with pytest.raises(ObservedError, match=str(file)):
            ObservedBehaviour.read(file)
    file.write_text(json.dumps(report(progress="absent")))
    assert ObservedBehaviour.read(str(file)).progress == "absent"


def test_a_long_value_is_quoted_in_part():
    with pytest.raises(ObservedError) as caught:
        ObservedBehaviour.read(report(progress="x" * 1000))
    assert len(str(caught.value)) < 250


def test_settings_of_one_behaviour_win_over_a_report():
    observed = ObservedBehaviour.read(
        report(cancel_running={"status": 403, "effect": "none"}, unbound_bucket="accepted", progress="absent")
    )
    config = EmulatorConfig(data_dir=Path("x"), observed=observed)
    assert config.observed == observed
    config = EmulatorConfig(
        data_dir=Path("x"), observed=observed, lenient_cancel=True, unbound="AccessDenied"
    )
    assert config.observed.cancel_running == config.observed.cancel_ended == CancelOutcome(200, False)
    assert config.observed.unbound_bucket == Refusal(403, "AccessDenied")
    assert config.observed.progress == "absent"
