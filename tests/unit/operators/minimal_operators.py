"""The operators and the sensor with the least arguments that work."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator
from airflow_provider_ci.sensors.job import TencentCIJobSensor

MINIMAL: dict[type[Any], dict[str, Any]] = {
    VoiceSeparateOperator: {"input_object": "in/a.mp3", "voice_object": "out/a"},
    VoiceSeparateBatchOperator: {"prefix": "in/", "voice_object": "out/${jobid}"},
    VoiceSeparateTemplateOperator: {"name": "stems", "audio_mode": "IsAudio"},
    TencentCICancelJobOperator: {"job_id": "j1"},
    TencentCIJobSensor: {"job_id": "j1"},
}
ONE, BATCH, TEMPLATE, CANCEL, SENSOR = MINIMAL

MQ = {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "n"}
KAFKA = {"region": "ap-guangzhou", "instance_id": "i", "topic": "t"}


def make(operator_class: type[Any], **arguments: Any) -> Any:
    return operator_class(**({"task_id": "task"} | MINIMAL[operator_class] | arguments))
