"""Jobs of several types: speak an announcement, convert a recording, join two, look at what comes out."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.text_to_speech import TextToSpeechOperator
from airflow_provider_ci.operators.transcode import TranscodeOperator

# The address of the file that a task has made, for parameters that need one
ADDRESS = (
    "{%% set file = ti.xcom_pull(task_ids='%s', key='job').outputs.file %%}"
    "https://{{ file.bucket }}.cos.{{ file.region }}.myqcloud.com/{{ file.object | urlencode }}"
)

with DAG(
    dag_id="example_job_types",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    default_args={"wait_for_completion": True, "timeout": 3600},
    params={
        "input_object": Param("in/speech_over_music.mp3", type="string", description="Key of the recording"),
        "output_folder": Param("out/types", type="string", description="What the results' keys begin with"),
    },
) as dag:
    # [START howto_operator_text_to_speech]
    announce = TextToSpeechOperator(
        task_id="announce",
        text="早上好",
        output_object="{{ params.output_folder }}/announcement.wav",
        mode="Sync",
        codec="wav",
        voice_type="ruxue",
    )
    # [END howto_operator_text_to_speech]

    # [START howto_operator_transcode]
    convert = TranscodeOperator(
        task_id="convert",
        input_object="{{ params.input_object }}",
        output_object="{{ params.output_folder }}/recording.mp3",
        container_format="mp3",
        audio_codec="mp3",
        audio_samplerate=44100,
        audio_bitrate=128,
        time_interval_duration=60,
        operation={"Transcode": {"TransConfig": {"DeleteMetadata": True}}},
    )
    # [END howto_operator_transcode]

    # [START howto_operator_job]
    join = TencentCIJobOperator(
        task_id="join",
        tag="Concat",
        operation={
            "ConcatTemplate": {
                "ConcatFragment": [{"Url": ADDRESS % "convert"}, {"Url": ADDRESS % "convert"}],
                "Audio": {"Codec": "mp3"},
                "Container": {"Format": "mp3"},
            },
            "Output": {"Object": "{{ params.output_folder }}/joined.mp3"},
        },
    )
    # [END howto_operator_job]

    # [START howto_operator_media_info]
    inspect = TencentCIJobOperator(
        task_id="inspect",
        tag="MediaInfo",
        input_object="{{ ti.xcom_pull(task_ids='join', key='job').outputs.file.object }}",
    )
    # [END howto_operator_media_info]

    announce >> convert >> join >> inspect
