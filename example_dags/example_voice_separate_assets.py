"""Let a voice file start another DAG: it is an asset, updated by the task that waits for the job."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, Param, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

# The bucket of your connection; this is the one of the emulator
BUCKET = "demo-1250000000"
VOICE = Asset(f"cos://{BUCKET}/out/latest/voice.mp3")
STEMS = AssetAlias("stems")

with DAG(
    dag_id="example_voice_separate_assets",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={"input_object": Param("in/speech_over_music.mp3", type="string")},
):
    # [START howto_outlets]
    # a key that is known before: the asset is that file
    VoiceSeparateOperator(
        task_id="separate",
        input_object="{{ params.input_object }}",
        voice_object="out/latest/voice.mp3",
        audio_mode="IsAudio",
        codec="mp3",
        wait_for_completion=True,
        timeout=3600,
        outlets=[VOICE],
    )

    # keys that only the service knows: each result becomes an asset, under the alias
    VoiceSeparateOperator(
        task_id="separate_stems",
        input_object="{{ params.input_object }}",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        codec="mp3",
        wait_for_completion=True,
        timeout=3600,
        outlets=[STEMS],
    )
    # [END howto_outlets]

# [START howto_schedule_on_voice]
with DAG(
    dag_id="example_voice_separate_assets_downstream",
    description="Runs whenever the voice file or the stems are new.",
    schedule=(VOICE | STEMS),
    start_date=datetime(2026, 11, 1),
    catchup=False,
    tags=["example", "tencent-ci"],
):

    @task
    def use(**context: Any) -> list[dict[str, Any]]:
        """Return what is new: key, MD5 and job of each file."""
        # Events that came after the first one, but before the scheduler had made this run, are in the next
        # Airflow 2.11 has the second name
        by_asset = context.get("triggering_asset_events") or context["triggering_dataset_events"]
        found = [event.extra for events in by_asset.values() for event in events]
        # the event of a file that has an alias is listed twice: under its asset, and under the alias
        return list({(extra.get("job_id"), extra.get("object")): extra for extra in found}.values())

    use()
# [END howto_schedule_on_voice]
