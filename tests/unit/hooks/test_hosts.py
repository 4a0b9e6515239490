"""Which host names of Tencent Cloud the calls go to, as they arrive: hook and asynchronous client alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import DescribeJobs
from airflow_provider_ci.protocol.objects import HeadObject
from airflow_provider_ci.protocol.wire import Service
from tests.conftest import BUCKET, CREDENTIALS, REGION
from tests.scripted_server import ScriptedServer, http, jobs
from tests.unit.hooks.transports import Send


@pytest.mark.parametrize(
    ("extra", "ci", "cos"),
    [
        ({}, f"ci.{REGION}.myqcloud.com", f"cos.{REGION}.myqcloud.com"),
        (
            {"ci_host": "ci.{region}.tencentci.cn", "cos_host": "cos-internal.{region}.tencentcos.cn"},
            f"ci.{REGION}.tencentci.cn",
            f"cos-internal.{REGION}.tencentcos.cn",
        ),
        (
            {"cos_host": "cos.accelerate.myqcloud.com"},
            f"ci.{REGION}.myqcloud.com",
            "cos.accelerate.myqcloud.com",
        ),
    ],
)
def test_the_connections_hosts_are_sent_and_signed(
    send: Send,
    extra: dict[str, str],
    ci: str,
    cos: str,
    server: ScriptedServer,
    connection: Callable[..., str],
) -> None:
    conn_id = connection(server.url, **extra)
    server.play(jobs(), http(""))
    send(conn_id, DescribeJobs(("j1",)), HeadObject("in/a.mp3"))
    sent = server.requests
    assert [request.header("Host") for request in sent] == [f"{BUCKET}.{ci}", f"{BUCKET}.{cos}"]
    assert all("host" in request.authorization.header_list for request in sent)
    assert all(request.is_signed_with(CREDENTIALS.secret_key) for request in sent)


def test_each_call_inserts_its_region(server: ScriptedServer, connection: Callable[..., str]) -> None:
    hook = TencentCIHook(connection(server.url, ci_host="ci.{region}.tencentci.cn"))
    server.play(jobs())
    hook.describe_jobs(["j1"], bucket="other-1250000002", region="ap-beijing")
    assert server.requests[0].header("Host") == "other-1250000002.ci.ap-beijing.tencentci.cn"
    hook.close()


def test_without_an_endpoint_url_the_hosts_are_connected_to(connection: Callable[..., str]) -> None:
    hook = TencentCIHook(connection(ci_host="ci.{region}.tencentci.cn"))
    assert hook.settings.endpoint().origin(Service.CI) == f"https://{BUCKET}.ci.{REGION}.tencentci.cn"
