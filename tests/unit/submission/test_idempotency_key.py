"""The key in UserData, the digest of a request, and which job belongs to a request."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

import pytest
from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate

from airflow_provider_ci.protocol.batches import BatchInput, BatchJob
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.job_rules import USER_DATA_MAX
from airflow_provider_ci.protocol.jobs import (
    CallbackKafkaConfig,
    CallbackMqConfig,
    Input,
    Job,
    JobRequest,
    Operation,
    Output,
)
from airflow_provider_ci.submission.idempotency_key import (
    IdempotencyKey,
    TaskIdentity,
    fingerprint,
    is_job_of,
    with_user_data,
)
from tests.unit.submission.simulated_world import BATCH, IDENTITY, OWN_DATA, PLACE, REQUEST, World, submission


def parsed(identity: TaskIdentity, waits: str = "nobody") -> IdempotencyKey:
    key = IdempotencyKey.parse(identity.idempotency_key("f" * 64, waits))
    assert key is not None
    return key


class TestIdempotencyKey:
    def test_is_readable_and_within_the_limits(self) -> None:
        marker = IDENTITY.idempotency_key("ab" * 32, "worker")
        assert "dag=separate run=manual__2027-01-15T08:00:00+00:00 task=submit map=-1 " in marker
        assert " deployment=prod " in marker
        assert " max_tries=3 waits=worker request=abababababab " in marker
        for identity in (
            IDENTITY,
            TaskIdentity("d" * 999, "r" * 999, "t" * 999, 10**9, "p" * 999, 10**9),
            TaskIdentity("分离", "ru n\n", "\ud800", -1, "", 0),
        ):
            text = identity.idempotency_key("f" * 64, "worker")
            assert len(text) <= USER_DATA_MAX
            assert text.isascii()
            assert text.isprintable()

    @pytest.mark.parametrize(
        "other",
        [
            IDENTITY._replace(dag_id="separat"),
            IDENTITY._replace(run_id="x"),
            IDENTITY._replace(task_id="x"),
            IDENTITY._replace(map_index=0),
            IDENTITY._replace(deployment="staging"),
            IDENTITY._replace(max_tries=4),
        ],
    )
    def test_differs_between_task_instances(self, other: TaskIdentity) -> None:
        assert not parsed(IDENTITY).is_same_request(parsed(other))
        assert parsed(IDENTITY).is_same_request(parsed(IDENTITY._replace()))

    def test_does_not_depend_on_who_waits(self) -> None:
        assert parsed(IDENTITY, waits="worker").is_same_request(parsed(IDENTITY, waits="triggerer"))

    def test_differs_between_submissions(self) -> None:
        assert parsed(IDENTITY).nonce != parsed(IDENTITY).nonce

    def test_differs_where_shortening_makes_ids_alike(self) -> None:
        long = [IDENTITY._replace(dag_id="d" * 300 + end).digest for end in "ab"]
        assert long[0] != long[1]
        alike = [TaskIdentity(dag_id, "r", "t", -1, "", 0).digest for dag_id in "分离"]
        assert alike[0] != alike[1]

    def test_is_not_what_a_user_may_write(self) -> None:
        """Two tasks separate one input, each in its own way, with data that begin as a marker does."""
        operation: Any = replace(OWN_DATA.operation, user_data="airflow nightly")  # type: ignore[type-var]
        first = replace(OWN_DATA, operation=operation)
        second = replace(
            first, operation=replace(operation, output=replace(operation.output, voice_object="out/b"))
        )
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(first, PLACE)
        # a retry without a store looks for what the try before it may have submitted
        assert submission(world, 2).get_or_submit(second, PLACE).job_id == "j2"

    def test_never_replaces_the_users_data(self) -> None:
        assert with_user_data(OWN_DATA, "m") is OWN_DATA
        assert with_user_data(REQUEST, "m").operation.user_data == "m"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"user_data": "order 8"}, False),
        ({"user_data": None}, True),  # the service may leave it out
        ({"output": None}, True),  # what is not handed back cannot differ
        ({"output": Output(voice_object="out/other")}, False),
        ({"voice_separate": VoiceSeparate(audio_mode="IsBackground")}, False),
        (
            {"voice_separate": VoiceSeparate(audio_mode="IsAudio", audio_config=AudioConfig(bitrate=64))},
            False,
        ),
        ({"voice_separate": VoiceSeparate(audio_mode="IsAudio")}, True),
    ],
)
def test_which_job_belongs_to_a_request_with_the_users_own_data(change: dict[str, Any], same: bool) -> None:
    operation = replace(OWN_DATA.operation, **change)  # type: ignore[type-var]
    job = Job(job_id="j1", input=Input(object="in/song.mp3"), operation=operation)
    assert is_job_of(job, OWN_DATA) is same
    assert not is_job_of(replace(job, input=Input(object="in/other")), OWN_DATA)


@pytest.mark.parametrize(
    "change",
    [
        {"input": None},
        {"input": Input(object="in%2Fsong.mp3")},
        {"input": BatchInput(object="in/")},
        {"name": None},
    ],
)
@pytest.mark.parametrize("kind", [Job, BatchJob])
def test_the_key_counts_however_the_service_spells_the_rest(kind: Any, change: dict[str, Any]) -> None:
    request = REQUEST if kind is Job else BATCH
    marked = with_user_data(request, IDENTITY.idempotency_key("f" * 64, "worker"))
    given = {"name": "other", "input": request.input} if kind is BatchJob else {"input": request.input}
    job = kind(
        job_id="j1", operation=marked.operation, **{k: v for k, v in (given | change).items() if k in given}
    )
    assert is_job_of(job, marked)
    other: Any = replace(
        marked.operation, user_data=IDENTITY._replace(max_tries=4).idempotency_key("f" * 64, "worker")
    )  # type: ignore[type-var]
    assert not is_job_of(replace(job, operation=other), marked)


class TestFingerprint:
    """A retry may run with another version of the provider: these digests must stay what they are."""

    @pytest.mark.parametrize(
        ("request_", "digest"),
        [
            (REQUEST, "135e9198c31ee4a5"),
            (OWN_DATA, "c8c760c8248644f3"),
            (BATCH, "879a1bf3374f72b2"),
        ],
        ids=["job", "own-data", "batch"],
    )
    def test_is_the_one_of_this_version(self, request_: Any, digest: str) -> None:
        assert fingerprint(request_, PLACE)[:16] == digest

    def test_does_not_change_with_a_field_that_a_later_version_adds(self) -> None:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class LaterVoiceSeparate(VoiceSeparate):
            added_later: str | None = "its default"

        def later(**values: Any) -> Any:
            parameters = LaterVoiceSeparate(
                audio_mode="IsAudio", audio_config=AudioConfig(codec="mp3", bitrate=128), **values
            )
            return replace(REQUEST, operation=replace(REQUEST.operation, voice_separate=parameters))  # type: ignore[type-var]

        assert fingerprint(later(), PLACE) == fingerprint(REQUEST, PLACE)
        assert fingerprint(later(added_later="given"), PLACE) != fingerprint(REQUEST, PLACE)

    def test_does_not_change_with_a_name_that_the_user_did_not_give(self) -> None:
        def named(name: str | None) -> str:
            return fingerprint(replace(BATCH, name=name), PLACE)

        assert named(DefaultName("dag-task")) == named(DefaultName("made-otherwise")) == named(None)
        assert named("dag-task") != named(DefaultName("dag-task"))

    def test_a_job_that_differs_in_such_a_field_is_another_one(self) -> None:
        @dataclass(frozen=True, slots=True, kw_only=True)
        class LaterVoiceSeparate(VoiceSeparate):
            added_later: str | None = None

        def own_data(value: str | None) -> Any:
            return replace(
                OWN_DATA.operation,  # type: ignore[type-var]
                voice_separate=LaterVoiceSeparate(audio_mode="IsAudio", added_later=value),
            )

        request = replace(OWN_DATA, operation=own_data("one"))
        job = Job(job_id="j1", input=Input(object="in/song.mp3"))
        assert is_job_of(replace(job, operation=own_data("one")), request)
        assert is_job_of(replace(job, operation=own_data(None)), request), "not handed back"
        assert not is_job_of(replace(job, operation=own_data("another")), request)

    @pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(JobRequest)])
    def test_counts_every_field(self, field: str) -> None:
        value: Any = {
            "input": Input(object="in/other.mp3"),
            "operation": Operation(template_id="t1"),
            "callback_mq_config": CallbackMqConfig(mq_name="n"),
            "callback_kafka_config": CallbackKafkaConfig(topic="t"),
        }.get(field, "another")
        assert fingerprint(replace(REQUEST, **{field: value}), PLACE) != fingerprint(REQUEST, PLACE)
