"""Keep the parameters of jobs in a template, and cancel a job that nobody waits for any more."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import DAG, Param

from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

with DAG(
    dag_id="example_voice_separate_template",
    description=__doc__,
    schedule=None,
    catchup=False,
    tags=["example", "tencent-ci"],
    params={
        "input_object": Param(
            "in/speech_over_music.mp3", type="string", description="Key of the media object"
        ),
    },
) as dag:
    # [START howto_operator_voice_separate_template]
    template = VoiceSeparateTemplateOperator(
        task_id="template",
        name="stems-mp3",
        audio_mode="AudioAndBackground",
        codec="mp3",
        bitrate=128,
    )
    # [END howto_operator_voice_separate_template]

    submit = VoiceSeparateOperator(
        task_id="submit",
        input_object="{{ params.input_object }}",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        template_id=template.output,
    )

    wait = TencentCIJobSensor(
        task_id="wait", job_id=submit.output, mode="reschedule", poke_interval=1, timeout=3600
    )

    # [START howto_operator_cancel_job]
    cancel = TencentCICancelJobOperator(
        task_id="cancel",
        job_id=submit.output,
        trigger_rule="one_failed",
    )
    # [END howto_operator_cancel_job]

    wait >> cancel
