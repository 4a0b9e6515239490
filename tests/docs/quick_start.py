"""The README's DAG."""

# [START dag]
from airflow.sdk import DAG  # Airflow 2.11: from airflow import DAG

from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

with DAG("separate", schedule=None, default_args={"retries": 2}):
    submit = VoiceSeparateOperator(
        task_id="submit",
        input_object="in/song.mp3",
        voice_object="out/${jobid}/voice.${ext}",
        background_object="out/${jobid}/background.${ext}",
        audio_mode="AudioAndBackground",
        codec="mp3",
    )
    TencentCIJobSensor(task_id="wait", job_id=submit.output, deferrable=True)
# [END dag]
