"""DAGs whose mapped tasks write their results to one key, or to keys of their own."""

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


with DAG(dag_id="mapped_to_one_key", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.${ext}", codec="mp3").expand(
        input_object=TWO
    )

with DAG(dag_id="mapped_to_one_key_at_run_time", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand(input_object=two())

with DAG(
    dag_id="mapped_to_one_key_by_default",
    schedule=None,
    catchup=False,
    default_args={"voice_object": "out/voice.mp3"},
):
    VoiceSeparateOperator.partial(**COMMON).expand(input_object=TWO)

with DAG(dag_id="mapped_to_one_key_by_dicts", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand_kwargs(
        [{"input_object": each} for each in TWO]
    )

with DAG(dag_id="mapped_to_one_key_in_dicts", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON | {"audio_mode": "AudioAndBackground"}).expand_kwargs(
        [
            {"input_object": TWO[0], "voice_object": "out/a.mp3", "background_object": "out/b.mp3"},
            {"input_object": TWO[1], "voice_object": "out/b.mp3", "background_object": "out/a.mp3"},
        ]
    )

with DAG(dag_id="mapped_to_one_key_in_a_list", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON).expand(input_object=TWO, voice_object=["out/voice.mp3"])

with DAG(dag_id="mapped_to_one_key_and_codec", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.${ext}").expand(
        input_object=TWO, codec=["mp3"]
    )

with DAG(dag_id="mapped_to_one_key_of_the_run", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/{{ run_id }}.mp3").expand(input_object=TWO)

with DAG(dag_id="mapped_to_one_key_of_params", schedule=None, catchup=False, params={"out": "out/voice.mp3"}):
    VoiceSeparateOperator.partial(**COMMON, voice_object="{{ params.out }}").expand(input_object=TWO)

with DAG(dag_id="mapped_group_to_one_key", schedule=None, catchup=False):

    @task_group
    def separate_to_one_key(key: str) -> None:
        """Separate an input."""
        VoiceSeparateOperator(**COMMON, input_object=key, voice_object="out/voice.mp3")

    separate_to_one_key.expand(key=TWO)

with DAG(dag_id="mapped_group_to_keys_of_their_own", schedule=None, catchup=False):

    @task_group
    def separate_to_a_key_of_its_own(key: str, into: str) -> None:
        """Separate an input."""
        VoiceSeparateOperator(**COMMON, input_object=key, voice_object=into)

    separate_to_a_key_of_its_own.expand_kwargs([{"key": each, "into": f"out/{each}"} for each in TWO])

with DAG(
    dag_id="mapped_to_keys_by_id_of_params",
    schedule=None,
    catchup=False,
    params={"out": "out/${jobid}.mp3"},
):
    VoiceSeparateOperator.partial(**COMMON, voice_object="{{ params.out }}").expand(input_object=TWO)

with DAG(dag_id="mapped_to_keys_in_dicts", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, input_object=TWO[0]).expand_kwargs(
        [{"voice_object": "out/a.mp3"}, {"voice_object": "out/b.mp3"}]
    )

with DAG(dag_id="mapped_to_keys_in_rendered_dicts", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON).expand_kwargs(
        [{"input_object": each, "voice_object": "out/{{ task.input_object }}"} for each in TWO]
    )

with DAG(dag_id="mapped_to_keys_that_may_differ", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/{{ macros.uuid.uuid4() }}.mp3").expand(
        input_object=TWO
    )

with DAG(dag_id="mapped_to_keys_by_id", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/${jobid}.mp3").expand(input_object=TWO)

with DAG(dag_id="mapped_to_keys_by_template", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/{{ ti.map_index }}.mp3").expand(
        input_object=TWO
    )

with DAG(dag_id="mapped_to_keys_of_their_own", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, input_object=TWO[0]).expand(
        voice_object=["out/a.mp3", "out/b.mp3"]
    )

with DAG(dag_id="mapped_to_keys_by_codec", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, input_object=TWO[0], voice_object="out/a.${ext}").expand(
        codec=["mp3", "wav"]
    )

with DAG(dag_id="mapped_over_one_input", schedule=None, catchup=False):
    VoiceSeparateOperator.partial(**COMMON, voice_object="out/voice.mp3").expand(input_object=TWO[:1])
