"""Jobs of a type without an operator of its own, for docs/operators.md."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.job import TencentCIJobOperator

with DAG("any_type", schedule=None, params={"input_object": "in/video.mp4"}) as dag:
    # [START operator]
    snapshot = TencentCIJobOperator(
        task_id="snapshot",
        tag="Snapshot",
        input_object="{{ params.input_object }}",
        operation={
            "Snapshot": {"Mode": "Interval", "Start": "0", "Count": "3"},
            "Output": {"Object": "out/${jobid}/${number}.jpg"},
        },
    )
    # [END operator]

    snapshots = TencentCIBulkJobOperator(
        task_id="snapshots",
        tag="Snapshot",
        input_manifest="lists/{{ ds }}.jsonl",
        operation={
            "Snapshot": {"Mode": "Interval", "Start": "0", "Count": "3"},
            "Output": {"Object": "out/${InputPath}/${InputName}-${number}.jpg"},
        },
        deferrable=True,
    )
