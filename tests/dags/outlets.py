"""Tasks with outlets, whose asset events a test reads."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias

from airflow_provider_ci.assets.cos import create_asset
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

BUCKET = "demo-1250000000"
REQUEST: dict[str, Any] = {
    "input_object": "in/speech_over_music.mp3",
    "audio_mode": "IsAudio",
    "codec": "mp3",
    "poll_interval": 0.2,
}
BOTH = {
    **REQUEST,
    "voice_object": "out/${jobid}/voice.${ext}",
    "background_object": "out/${jobid}/background.${ext}",
    "audio_mode": "AudioAndBackground",
}

with DAG(dag_id="outlets", schedule=None, catchup=False) as outlets:
    waiting = VoiceSeparateOperator(
        task_id="waiting",
        voice_object="out/waiting 人声.mp3",
        wait_for_completion=True,
        outlets=[
            create_asset(bucket=BUCKET, key="out/waiting 人声.mp3"),
            Asset("voices"),
            Asset(f"cos://{BUCKET}/out"),
        ],
        **REQUEST,
    )
    deferred = VoiceSeparateOperator(
        task_id="deferred",
        wait_for_completion=True,
        deferrable=True,
        outlets=[AssetAlias("deferred-stems"), Asset(f"cos://{BUCKET}/out/elsewhere.mp3")],
        **BOTH,
    )
    submit = VoiceSeparateOperator.partial(task_id="submit", **(REQUEST | {"audio_mode": "IsAudio"})).expand(
        voice_object=["out/first.mp3", "out/second.mp3"]
    )
    sense = TencentCIJobSensor(
        task_id="sense",
        job_id=submit.output,
        poke_interval=0.2,
        mode="reschedule",
        outlets=[AssetAlias("sensed")],
    )
    sense_deferred = TencentCIJobSensor(
        task_id="sense_deferred",
        job_id=submit.output,
        deferrable=True,
        poke_interval=0.2,
        outlets=[Asset(f"cos://{BUCKET}/out/first.mp3"), Asset(f"cos://{BUCKET}/out/second.mp3")],
    )
    batch = VoiceSeparateBatchOperator(
        task_id="batch",
        prefix="in/",
        voice_object="out/${InventoryTriggerJobId}/${InputName}-${jobid}.${ext}",
        audio_mode="IsAudio",
        codec="mp3",
        wait_for_completion=True,
        poll_interval=0.2,
        outlets=[Asset(f"cos://{BUCKET}/out/batches")],
    )
    failing = VoiceSeparateOperator(
        task_id="failing",
        voice_object="out/failing.mp3",
        wait_for_completion=True,
        trigger_rule="all_done",
        outlets=[Asset(f"cos://{BUCKET}/out/failing.mp3")],
        **(REQUEST | {"input_object": "in/absent.mp3"}),
    )
    waiting >> deferred >> submit >> [sense, sense_deferred] >> batch >> failing

with DAG(dag_id="lineage", schedule=None, catchup=False) as lineage:
    accepted = VoiceSeparateOperator(task_id="accepted", **BOTH)
    sensed = TencentCIJobSensor(task_id="sensed", job_id=accepted.output, deferrable=True, poke_interval=0.2)
    failed = VoiceSeparateOperator(
        task_id="failed",
        voice_object="out/failed.mp3",
        wait_for_completion=True,
        **(REQUEST | {"input_object": "in/absent.mp3"}),
    )
    sensed >> failed
