"""A DAG that makes a voice file, and those that run when there is a new one."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor
from tencent_ci_emulator.config import DEMO_BUCKET

VOICE, STEMS = Asset(f"cos://{DEMO_BUCKET}/latest/voice.wav"), AssetAlias("stems")
REQUEST = {
    "tencent_ci_conn_id": "quick",
    "input_object": "assets/0.wav",
    "codec": "wav",
    "poll_interval": 1.0,
}


@task
def read(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    return [event.extra for events in triggering_asset_events.values() for event in events]


with DAG(dag_id="makes_voice", schedule=None, catchup=False) as makes_voice:
    VoiceSeparateOperator(
        task_id="separate",
        voice_object="latest/voice.wav",
        audio_mode="IsAudio",
        wait_for_completion=True,
        deferrable=True,
        outlets=[VOICE],
        **REQUEST,
    )

with DAG(dag_id="makes_stems", schedule=None, catchup=False) as makes_stems:
    submitted = VoiceSeparateOperator(
        task_id="submit",
        voice_object="stems/${jobid}/voice.${ext}",
        background_object="stems/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        **REQUEST,
    )
    TencentCIJobSensor(
        task_id="sense", tencent_ci_conn_id="quick", job_id=submitted.output, poke_interval=1, outlets=[STEMS]
    )

with DAG(dag_id="on_voice", schedule=[VOICE], catchup=False) as on_voice:
    read()

with DAG(dag_id="on_stems", schedule=[STEMS], catchup=False) as on_stems:
    read()
