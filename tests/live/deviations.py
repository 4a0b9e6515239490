"""Behaviours of the service that differ from what is assumed, one at a time."""

from __future__ import annotations

from typing import Any

_REFUSED = {"status": 409, "code": "OperationConflict"}

#: Name and value. The kit settles them without Airflow.
DEVIATIONS: list[tuple[str, Any]] = [
    ("user_data_in_description", False),
    ("user_data_in_list", False),
    ("list_lag_seconds", 15),
    ("ended_lag_seconds", 15),
    ("list_order_by_time_asc", "ignored"),
    ("list_ends_included", False),
    ("listed_tags", {"Snapshot": False}),
    ("unknown_job", {"status": 404, "code": "JobNotFound"}),
    ("unknown_job", {"status": 200, "form": "empty"}),
    ("cancel_submitted", "refused"),
    ("cancel_running", {"status": 200, "effect": "cancelled"}),
    ("cancel_running", {"status": 403, "code": "AccessDenied", "effect": "none"}),
    ("cancel_ended", {"status": 200, "effect": "none"}),
    ("unbound_bucket", {"status": 403, "code": "AccessDenied"}),
    ("unbound_bucket", "accepted"),
    ("long_result_key", _REFUSED),
    ("misspelt_placeholder", "removed"),
    ("misspelt_placeholder", _REFUSED),
    ("placeholder_jobid", "literal"),
    ("same_result_key", "kept"),
    ("same_result_key", _REFUSED),
    ("codec_containers", {"wav": {"pcm_s16le": False}}),
    ("callback_kafka_config", _REFUSED),
    ("input_url", False),
    ("template_not_found", {"status": 404, "code": "ResourceNotFound"}),
    ("wrong_region", {"status": 403, "code": "AccessDenied"}),
    ("invalid_argument", {"status": 422, "code": "ParameterInvalid"}),
    ("progress", "absent"),
    ("job_id_length", 40),
    ("timestamps_offset", "+0000"),
    ("batch_id_length", 40),
    ("batch_user_data", False),
]
#: Those of which Airflow's jobs are a part.
DEVIATIONS_IN_AIRFLOW: list[tuple[str, Any]] = [
    ("input_formats", {"flac": False}),
    ("samplerate_spelling", "Samplerate"),
    ("samplerate_spelling", "SampleRate"),
]


def is_noticed(found: Any, value: Any) -> bool:
    """Tell whether the kit has found the value: a time to one second, of a table the part that differs."""
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(found, int):
        return abs(found - value) <= 1
    if isinstance(value, dict) and "status" not in value:
        return all(found.get(name) == part for name, part in value.items())
    return bool(found == value)


def label(deviation: tuple[str, Any]) -> str:
    """Return a name for a test."""
    name, value = deviation
    return f"{name}={value.get('code') or value if isinstance(value, dict) else value}"
