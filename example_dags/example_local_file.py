"""Upload a file of the worker, separate it, and download a result and then all results.

All tasks need one disk: run them on one worker, or on a folder that all workers share.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Param, task

from airflow_provider_ci.operators.cos import TencentCOSDownloadOperator, TencentCOSUploadOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

with DAG(
    dag_id="example_local_file",
    description="Upload a file, separate it, and download the results",
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={
        "path": Param("/tmp/song.mp3", type="string"),  # noqa: S108 - a user enters another one
        "folder": Param("/tmp/separated", type="string"),  # noqa: S108 - the same
    },
) as dag:
    # [START howto_operator_cos_upload]
    upload = TencentCOSUploadOperator(
        task_id="upload", path="{{ params.path }}", key="in/{{ run_id }}/{{ params.path.split('/')[-1] }}"
    )
    # [END howto_operator_cos_upload]
    separate = VoiceSeparateOperator(
        task_id="separate",
        input_object=upload.output,
        voice_object="out/{{ run_id }}/voice.mp3",
        background_object="out/{{ run_id }}/background.mp3",
        audio_mode="AudioAndBackground",
        codec="mp3",
        wait_for_completion=True,
        timeout=3600,
    )
    # [START howto_operator_cos_download]
    download = TencentCOSDownloadOperator(
        task_id="download", key="out/{{ run_id }}/voice.mp3", path="{{ params.folder }}/voice.mp3"
    )
    # [END howto_operator_cos_download]

    # [START howto_hook_download]
    @task
    def download_all(params: dict[str, Any] | None = None, run_id: str | None = None) -> list[str]:
        """Download what the run has written, and return the paths."""
        from airflow_provider_ci.hooks.ci import TencentCIHook

        with TencentCIHook() as hook:
            files = hook.download_folder(f"out/{run_id}/", (params or {})["folder"])
        return [file.path for file in files.values()]

    # [END howto_hook_download]

    separate >> [download, download_all()]
