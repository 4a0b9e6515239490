"""DAGs whose mapped tasks write their results to one key, or to keys of their own."""

from __future__ import annotations

from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator

COMMON: dict[str, Any] = {"task_id": "separate", "audio_mode": "IsAudio", "retries": 0}
TWO = ["in/a.mp3", "in/b.mp3"]


@task
def two() -> list[str]:
    """Return the keys of two inputs."""
    return TWO


with DAG(dag_id="mapped_to_one_key", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, au_object="out/voice.${ext}", codec="mp3").expand(
        input_object=TWO
    )

with DAG(dag_id="mapped_to_one_key_at_run_time", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, au_object="out/voice.mp3").expand(input_object=two())

with DAG(dag_id="mapped_to_keys_by_id", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, au_object="out/${jobid}.mp3").expand(input_object=TWO)

with DAG(dag_id="mapped_to_keys_by_template", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, au_object="out/{{ ti.map_index }}.mp3").expand(input_object=TWO)

with DAG(dag_id="mapped_to_keys_of_their_own", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, input_object=TWO[0]).expand(au_object=["out/a.mp3", "out/b.mp3"])

with DAG(dag_id="mapped_to_keys_by_codec", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, input_object=TWO[0], au_object="out/a.${ext}").expand(
        codec=["mp3", "wav"]
    )

with DAG(dag_id="mapped_over_one_input", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, au_object="out/voice.mp3").expand(input_object=TWO[:1])
