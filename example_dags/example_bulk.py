"""Separate all recordings under a prefix by one task, each paid for once, and read what became of them."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator

with DAG(
    dag_id="example_bulk",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={
        "prefix": Param("in/", type="string", description="Begin of the recordings' keys"),
        "folder": Param("out/bulk", type="string", description="Folder of the results"),
    },
) as dag:
    # [START howto_operator_voice_separate_bulk]
    separate = VoiceSeparateBulkOperator(
        task_id="separate",
        prefix="{{ params.prefix }}",
        include=["*.mp3", "*.wav"],
        voice_object="{{ params.folder }}/${InputName}-${jobid}.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        max_jobs=20_000,
        retries=2,
        deferrable=True,
    )
    # [END howto_operator_voice_separate_bulk]

    # [START howto_bulk_manifest]
    @task(multiple_outputs=False)  # one XCom: Airflow would make one of each object
    def voices(result: dict) -> dict[str, str]:
        """Return the key of each input's voice, of the first hundred."""
        from itertools import islice

        from airflow_provider_ci.hooks.ci import TencentCIHook

        lines = TencentCIHook().read_manifest(result["manifest"]["object"], states=["Success"])
        return {line["input_object"]: line["outputs"]["voice"]["object"] for line in islice(lines, 100)}

    # [END howto_bulk_manifest]

    voices(separate.output)
