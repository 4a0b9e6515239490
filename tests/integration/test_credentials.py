"""Temporary keys and a wrong clock on the emulator: the hook, the operator, the trigger, in real Airflow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.hooks import clock, credentials
from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.server import Emulator
from tests.integration.airflow_runs import dags_in, tries, xcom
from tests.patience import PATIENCE
from tests.recording import SHORT
from tests.unit.hooks import fakes

GOOD = {"TmpSecretId": "AKIDgood", "TmpSecretKey": "the-good-key", "Token": "the-good-token"}

pytestmark = pytest.mark.usefixtures("airflow_db", "fresh_process")


@pytest.fixture(scope="session")
def dags(airflow_db: None) -> dict[str, Any]:
    return dags_in(Path(__file__).resolve().parents[1] / "dags")


@pytest.fixture
def fresh_process(mocker: MockerFixture) -> Iterator[None]:
    process = credentials._Process()
    mocker.patch.object(credentials, "_process", process)
    mocker.patch.object(clock, "_clocks", {})
    yield
    process.threads.shutdown()


class Rotated(fakes.Metadata):
    """Gives out keys that have been revoked, and then those of the emulator."""

    def issue(self) -> dict[str, Any]:
        revoked = super().issue()
        return revoked if self.issued == 1 else GOOD


class SkewedClock(Clock):
    """The clock of a service on a machine whose time is another."""

    def __init__(self, skew: float) -> None:
        self._skew = skew

    def now(self) -> float:
        return super().now() + self._skew


@pytest.fixture
def issuer(mocker: MockerFixture) -> Iterator[Rotated]:
    with fakes.serving(Rotated()) as service:
        mocker.patch("airflow_provider_ci.hooks.instance_role.METADATA_URL", service.url + fakes.PREFIX)
        mocker.patch("airflow_provider_ci.hooks.instance_role.TIMEOUTS", (PATIENCE, PATIENCE))
        yield service


@contextmanager
def uploaded(emulator: Emulator) -> Iterator[TencentCIHook]:
    hook = TencentCIHook()
    hook.upload_file(SHORT, "in/speech_over_music.mp3")
    yield hook
    hook.close()


def test_revoked_keys_are_replaced(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, issuer: Rotated
) -> None:
    keys = {"secret_id": GOOD["TmpSecretId"], "secret_key": GOOD["TmpSecretKey"]}
    with Emulator(**keys, security_token=GOOD["Token"]) as emulator:
        extra = {name: emulator.connection["extra"][name] for name in ("bucket", "region", "endpoint_url")}
        value = {"conn_type": "tencent_ci", "extra": extra | {"credential_source": "instance_role"}}
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(value))
        with uploaded(emulator):
            assert issuer.issued == 2
        # as in another process, whose instance still has the revoked keys
        issuer.issued = 0
        credentials._process.credentials.clear()
        dag_run = dags["plain_deferrable"].test()
        assert dag_run.state == "success"
        assert tries(dag_run)["separate"][1] == 1
        assert issuer.issued == 2
        assert [one.status for one in emulator.ledger.requests("submit")] == [401, 200]
        (job,) = emulator.ledger.accepted_jobs()
        assert xcom(dag_run, "separate") == job.job_id


@pytest.mark.parametrize(
    ("dag_id", "made", "skew"),
    [("plain_deferrable", 1, -7200), ("not_durable", 2, 7200), ("accepted_deferrable", 2, 7200)],
)
def test_a_wrong_clock(
    dags: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dag_id: str, made: int, skew: float
) -> None:
    with Emulator(clock=SkewedClock(skew)) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
        with uploaded(emulator) as hook:
            for operation in ("submit", "describe", "list"):
                emulator.faults.add(operation, clock_skew=skew)
            dag_run = dags[dag_id].test()
            assert dag_run.state == "success"
            assert tries(dag_run)["separate"][1] == made
            submissions = [one.status for one in emulator.ledger.requests("submit")]
            assert submissions == ([401, 200, 200] if dag_id == "not_durable" else [401, 200])
            assert len(emulator.ledger.accepted_jobs()) == len(submissions) - 1
            assert abs(hook.now() - time.time() - skew) < 30
