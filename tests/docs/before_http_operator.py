"""A DAG that speaks HTTP itself, to which docs/migrating.md links. Needs apache-airflow-providers-http."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit
from xml.etree import ElementTree

from airflow.providers.common.compat.sdk import DAG
from airflow.providers.http.operators.http import HttpOperator
from qcloud_cos import CosConfig
from qcloud_cos.cos_auth import CosS3Auth
from requests.auth import AuthBase

REQUEST = """<Request>
  <Tag>VoiceSeparate</Tag>
  <Input><Object>{{ params.input_object }}</Object></Input>
  <Operation>
    <VoiceSeparate>
      <AudioMode>AudioAndBackground</AudioMode>
      <AudioConfig><Codec>mp3</Codec></AudioConfig>
    </VoiceSeparate>
    <Output>
      <Region>ap-guangzhou</Region><Bucket>media-1250000001</Bucket>
      <Object>out/${jobid}/background.${ext}</Object><AuObject>out/${jobid}/voice.${ext}</AuObject>
    </Output>
  </Operation>
</Request>"""


class Signed(AuthBase):
    def __init__(self, secret_id, secret_key):
        self.config = CosConfig(Region="ap-guangzhou", SecretId=secret_id, SecretKey=secret_key)

    def __call__(self, request):
        return CosS3Auth(self.config, urlsplit(request.url).path)(request)


with DAG("before_http_operator", schedule=None, params={"input_object": "in/song.mp3"}):
    submit = HttpOperator(
        task_id="submit",
        http_conn_id="ci",  # https://media-1250000001.ci.ap-guangzhou.myqcloud.com, SecretId, SecretKey
        endpoint="jobs",
        data=REQUEST,
        headers={"Content-Type": "application/xml"},
        auth_type=Signed,
        response_filter=lambda response: ElementTree.fromstring(response.content).findtext("*/JobId"),
        retries=2,
    )
    wait = HttpOperator(  # HttpSensor cannot sign; so a task that fails until the job has ended
        task_id="wait",
        http_conn_id="ci",
        endpoint="jobs/{{ ti.xcom_pull('submit') }}",
        method="GET",
        auth_type=Signed,
        response_check=lambda response: "<State>Success</State>" in response.text,
        retries=360,
        retry_delay=timedelta(seconds=10),
    )
    submit >> wait
