"""DAGs whose mapped tasks write their results to one key, or each to another key."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task, task_group

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

COMMON: dict[str, Any] = {"task_id": "separate", "audio_mode": "IsAudio", "retries": 0}
TWO = ["in/a.mp3", "in/b.mp3"]


@task
def two() -> list[str]:
    """Return the keys of two inputs."""
    return TWO


with DAG("one_key", schedule=None):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.${ext}").expand(input_object=TWO)

with DAG("one_key_at_run_time", schedule=None):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand(input_object=two())

with DAG("one_key_by_dicts", schedule=None):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand_kwargs(
        [{"input_object": key} for key in TWO]
    )

with DAG("one_key_in_group", schedule=None):

    @task_group
    def separate_to_one_key(key: str) -> None:
        """Separate an input."""
        VoiceSeparateOperator(**COMMON, input_object=key, voice_object="out/voice.mp3")

    separate_to_one_key.expand(key=TWO)

with DAG("many_keys_in_group", schedule=None):

    @task_group
    def separate_to(key: str, result: str) -> None:
        """Separate an input."""
        VoiceSeparateOperator(**COMMON, input_object=key, voice_object=result)

    separate_to.expand_kwargs([{"key": key, "result": f"out/{key}"} for key in TWO])

with DAG("one_instance", schedule=None):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand(input_object=TWO[:1])
