"""What tasks leave in XCom, by example; every value stands for its kind."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.results import JobResult, job_result

# [START job]
job = {
    "job_id": "j…",
    "state": "Success",
    "code": None,
    "message": None,
    "creation_time": "2025-01-02T03:04:05+08:00",
    "start_time": "2025-01-02T03:04:06+08:00",
    "end_time": "2025-01-02T03:05:07+08:00",
    "queue_id": "p…",
    "tag": "VoiceSeparate",
    "user_data": "airflow dag=…",
    "input": {"bucket": "media-1250000001", "region": "ap-guangzhou", "object": "in/song.mp3"},
    "outputs": {
        "voice": {"bucket": "…", "region": "…", "object": "out/j…/voice.mp3", "md5": "…"},
        "background": {"bucket": "…", "region": "…", "object": "out/j…/background.mp3", "md5": "…"},
    },
    "other_objects": [],
    "result": {"MediaInfo": {"…": "…"}},
    "result_is_complete": True,
    "omitted_files": 0,
}
# [END job]

# [START batch]
batch = {
    "job_id": "b…",
    "name": "stems",
    "state": "Success",
    "code": None,
    "message": None,
    "creation_time": "2025-01-02T03:04:05+08:00",
    "start_time": "2025-01-02T03:04:06+08:00",
    "end_time": "2025-01-02T04:05:06+08:00",
    "user_data": "airflow dag=…",
    "input": {"prefix": "in/"},
    "counts": {"Success": 118, "Failed": 2},
    "unsuccessful": [
        {"job_id": "j…", "input_object": "in/x.mp3", "state": "Failed", "code": "…", "message": "…"},
    ],
}
# [END batch]

# [START bulk]
bulk = {
    "total": 3000,
    "succeeded": 2998,
    "failed": 2,
    "submitted": 1000,  # by this try
    "reused": 2000,  # jobs of earlier tries
    "manifest": {"bucket": "…", "region": "…", "object": "airflow/…/separate-….jsonl", "md5": "…"},
    "failures": [
        {"input_object": "in/x.mp3", "job_id": "j…", "state": "Failed", "code": "…", "message": "…"},
    ],
}
# [END bulk]


def jobs_of(batch_id: str) -> list[JobResult]:
    """Return the results of a batch job's jobs."""
    # [START jobs_of_batch]
    jobs = [job_result(job) for job in TencentCIHook().list_jobs(inventory_trigger_job_id=batch_id)]
    # [END jobs_of_batch]
    return [*jobs]


def is_like(value: Any, example: Any) -> bool:
    """Tell whether a value has the keys and kinds of an example."""
    if isinstance(example, dict):
        return isinstance(value, dict) and (
            "…" in example or all(name in example and is_like(value[name], example[name]) for name in value)
        )
    if isinstance(example, list):
        return isinstance(value, list) and all(is_like(one, example[0]) for one in value)
    return isinstance(value, type(example))
