"""Separate voice and background of one media file: submit, wait without holding a worker slot, use the
results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

with DAG(
    dag_id="example_voice_separate",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={
        "input_object": Param(
            "in/speech_over_music.mp3", type="string", description="Key of the media object"
        ),
        "codec": Param("mp3", enum=["aac", "mp3", "flac", "wav"]),
        "download_dir": Param("/tmp/voice-separate", type="string"),  # noqa: S108 - yours to choose
    },
) as dag:
    # [START howto_operator_voice_separate]
    submit = VoiceSeparateOperator(
        task_id="submit",
        input_object="{{ params.input_object }}",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        codec="{{ params.codec }}",
    )
    # [END howto_operator_voice_separate]

    # [START howto_sensor_job]
    wait = TencentCIJobSensor(
        task_id="wait",
        job_id=submit.output,
        mode="reschedule",
        poke_interval=1,
        timeout=3600,
    )
    # [END howto_sensor_job]

    # [START howto_download_results]
    @task
    def download(result: dict[str, Any], params: dict[str, Any] | None = None) -> dict[str, str]:
        """Download each result and check its MD5."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        folder = Path((params or {})["download_dir"]) / result["job_id"]
        folder.mkdir(parents=True, exist_ok=True)
        hook = TencentCIHook()
        return {
            stem: hook.download_file(
                output["object"],
                folder / Path(output["object"]).name,
                md5=output["md5"],
                bucket=output["bucket"],
                region=output["region"],
            ).path
            for stem, output in result["outputs"].items()
        }

    # [END howto_download_results]

    download(wait.output)
