"""Separate all media files under a prefix by one batch job, with the parameters of a template."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator

with DAG(
    dag_id="example_voice_separate_batch",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={"prefix": Param("in/", type="string", description="Begin of the media objects' keys")},
) as dag:
    template = VoiceSeparateTemplateOperator(
        task_id="template", name="voice-mp3", audio_mode="IsAudio", codec="mp3"
    )

    # [START howto_operator_voice_separate_batch]
    batch = VoiceSeparateBatchOperator(
        task_id="batch",
        prefix="{{ params.prefix }}",
        voice_object="out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
        template_id=template.output,
        wait_for_completion=True,
        timeout=6 * 3600,
    )
    # [END howto_operator_voice_separate_batch]

    # [START howto_batch_results]
    @task(multiple_outputs=False)  # one XCom: Airflow would make one of each object
    def results(batch_id: str) -> dict[str, str]:
        """Return the key of each input's voice."""
        from airflow_provider_ci.hooks.ci import TencentCIHook
        from airflow_provider_ci.protocol.results import job_result

        jobs = [job_result(job) for job in TencentCIHook().list_jobs(inventory_trigger_job_id=batch_id)]
        return {str(job["input"]["object"]): job["outputs"]["voice"]["object"] for job in jobs}

    # [END howto_batch_results]

    results(batch.output)
