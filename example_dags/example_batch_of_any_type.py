"""Keep the parameters of a transcoding in a template, and convert all recordings under a prefix with it."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator
from airflow_provider_ci.operators.template import TencentCITemplateOperator

with DAG(
    dag_id="example_batch_of_any_type",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={"prefix": Param("in/", type="string", description="What the keys of the recordings begin with")},
) as dag:
    # [START howto_operator_template]
    template = TencentCITemplateOperator(
        task_id="template",
        tag="Transcode",
        name="speech-mp3",
        parameters={
            "Transcode": {
                "Container": {"Format": "mp3"},
                "Audio": {"Codec": "mp3", "Samplerate": 16000, "Channels": 1},
            },
        },
    )
    # [END howto_operator_template]

    # [START howto_operator_batch_job]
    batch = TencentCIBatchJobOperator(
        task_id="batch",
        tag="Transcode",
        prefix="{{ params.prefix }}",
        operation={
            "TemplateId": template.output,
            "Output": {"Object": "out/${InventoryTriggerJobId}/${InputName}-${jobid}.mp3"},
        },
        wait_for_completion=True,
        timeout=6 * 3600,
    )
    # [END howto_operator_batch_job]
