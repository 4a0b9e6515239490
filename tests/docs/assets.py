"""Assets in docs/lineage-and-assets.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task

from airflow_provider_ci.assets.cos import create_asset
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

VOICE = Asset("cos://media-1250000001/out/latest/voice.mp3")

with DAG("upstream", schedule=None) as upstream:
    # [START operator]
    VoiceSeparateOperator(
        task_id="separate",
        input_object="in/song.mp3",
        voice_object="out/latest/voice.mp3",
        audio_mode="IsAudio",
        wait_for_completion=True,
        outlets=[Asset("cos://media-1250000001/out/latest/voice.mp3")],
    )
    # [END operator]

# [START downstream]
with DAG("downstream", schedule=[VOICE], start_date=datetime(2026, 11, 1)) as downstream:

    @task
    def use(triggering_asset_events: Any = None) -> list[str]:
        return [event.extra["object"] for event in triggering_asset_events[VOICE]]

    use()
# [END downstream]

# [START event]
extra = {
    "job_id": "j…",
    "state": "Success",
    "stem": "voice",
    "bucket": "media-1250000001",
    "region": "ap-guangzhou",
    "object": "out/latest/voice.mp3",
    "md5": "…",
    "size": 209023,
}
# [END event]

# [START encoded]
song = create_asset(bucket="media-1250000001", key="out/人声 #1.mp3")
# [END encoded]
