"""What only an event loop can get wrong; ``test_transports`` has what both transports share."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import ConfigurationError, TencentCIError
from airflow_provider_ci.hooks.aio import AsyncClient, load_settings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.jobs import DescribeJobs
from tests.conftest import BUCKET, CREDENTIALS, REGION
from tests.patience import PATIENCE
from tests.scripted_server import ScriptedServer, error, hang, job_xml, jobs
from tests.unit.hooks.transports import by_loop

Define = Callable[..., str]
DESCRIBE = DescribeJobs(("j1", "j2"))


@pytest.fixture
def conn_id(connection: Define, server: ScriptedServer) -> str:
    return connection(server.url, connect_timeout=PATIENCE, read_timeout=PATIENCE)


class TestTheLoop:
    """What would take long happens beside it."""

    @pytest.mark.parametrize("size", [1_000, 300_000])
    def test_large_bodies_are_parsed_in_a_thread(
        self, conn_id: str, server: ScriptedServer, mocker: MockerFixture, size: int
    ) -> None:
        threads: list[threading.Thread] = []
        parse = DescribeJobs.parse

        def parsing(self: DescribeJobs, response: Any) -> Any:
            threads.append(threading.current_thread())
            return parse(self, response)

        mocker.patch.object(DescribeJobs, "parse", parsing)
        server.play(jobs(job_xml("j1", "Failed", message="m" * size)))
        (answer,) = by_loop(conn_id, DESCRIBE)
        assert len(answer.jobs_detail[0].message) == size
        assert (threads[0] is threading.main_thread()) == (size == 1_000)

    def test_an_error_in_a_large_body_is_raised(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(error(403, "AccessDenied", message="m" * 300_000))
        with pytest.raises(TencentCIError):
            by_loop(conn_id, DESCRIBE)

    def test_a_cancelled_call_leaves_no_connection_in_use(self, conn_id: str, server: ScriptedServer) -> None:
        server.play(hang(), jobs())

        async def main() -> None:
            settings = await load_settings(conn_id)
            async with AsyncClient(settings, connections=1) as client:
                waiting = asyncio.create_task(client.call(DESCRIBE, settings.endpoint()))
                while not server.requests:
                    await asyncio.sleep(0)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                await client.call(DESCRIBE, settings.endpoint())  # the only connection is free again

        asyncio.run(main())
        assert [sent.connection for sent in server.requests] == [1, 2]


class TestLoadSettings:
    def load(self, conn_id: str = "tencent_ci_default") -> ConnectionSettings:
        return asyncio.run(load_settings(conn_id))

    @pytest.mark.parametrize("form", ["json", "json-with-extra-as-text", "uri", "uri-with-extra"])
    def test_settings_are_those_that_the_hook_reads(
        self, monkeypatch: pytest.MonkeyPatch, logs: Any, form: str
    ) -> None:
        extra = {"bucket": BUCKET, "region": REGION, "read_timeout": "7"}
        said = {"conn_type": "tencent_ci", "login": "AKIDx", "password": CREDENTIALS.secret_key}
        value = {
            "json": json.dumps(said | {"extra": extra}),
            "json-with-extra-as-text": json.dumps(said | {"extra": json.dumps(extra)}),
            "uri": (
                f"tencent-ci://AKIDx:{CREDENTIALS.secret_key}@/"
                f"?bucket={BUCKET}&region={REGION}&read_timeout=7"
            ),
            "uri-with-extra": (
                f"tencent-ci://AKIDx:{CREDENTIALS.secret_key}@/?__extra__=%7B%22bucket%22%3A%20%22{BUCKET}%22"
                f"%2C%20%22region%22%3A%20%22{REGION}%22%2C%20%22read_timeout%22%3A%207%7D"
            ),
        }[form]
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", value)
        settings = self.load()
        assert settings == TencentCIHook().settings
        assert (settings.bucket, settings.region, settings.read_timeout) == (BUCKET, REGION, 7)

    def test_an_incomplete_connection_is_refused(self, connection: Define) -> None:
        with pytest.raises(ConfigurationError, match="SecretKey"):
            self.load(connection(password=""))

    def test_a_missing_connection_is_named(self, logs: Any) -> None:
        with pytest.raises(Exception, match="nowhere"):
            self.load("nowhere")

    def test_the_loop_runs_while_airflow_looks_the_connection_up(
        self, connection: Define, mocker: MockerFixture
    ) -> None:
        conn_id = connection()
        beats: list[int] = []
        from airflow.providers.common.compat.sdk import BaseHook, Connection

        if hasattr(Connection, "aextra_dejson"):
            lookup = BaseHook.aget_connection

            async def slow_lookup(conn_id: str) -> Any:
                while len(beats) < 5:
                    await asyncio.sleep(0)
                return await lookup(conn_id)

            mocker.patch.object(BaseHook, "aget_connection", slow_lookup)
            mocker.patch.object(BaseHook, "get_connection", None)  # would block
        else:  # Airflow before 3.3.2, where it must be in a thread
            blocking_lookup = BaseHook.get_connection

            def slow_blocking_lookup(conn_id: str) -> Any:
                while len(beats) < 5:
                    time.sleep(0.001)
                return blocking_lookup(conn_id)

            mocker.patch.object(BaseHook, "get_connection", slow_blocking_lookup)

        async def main() -> ConnectionSettings:
            loading = asyncio.create_task(load_settings(conn_id))
            while not loading.done():
                beats.append(1)
                await asyncio.sleep(0)
            return await loading

        assert asyncio.run(main()).conn_id == conn_id
