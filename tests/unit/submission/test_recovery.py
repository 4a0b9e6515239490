"""Which job of the list belongs to a submission, and when it is certain that there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import AmbiguousSubmissionError, InvalidRequestError, ServerError
from airflow_provider_ci.protocol.jobs import JobsResponse
from airflow_provider_ci.protocol.tree import Tree, with_value
from airflow_provider_ci.submission.durable_submission import LIST_CONSISTENCY_DELAY, SUBMISSION_VALIDITY
from airflow_provider_ci.submission.idempotency_key import fingerprint, with_user_data
from airflow_provider_ci.submission.record import STORE_KEY, SubmissionRecords
from tests.unit.submission.recording_log import RecordingLog
from tests.unit.submission.simulated_world import (
    BATCH,
    IDENTITY,
    OWN_DATA,
    PLACE,
    REQUEST,
    START,
    World,
    submission,
)


def test_duplicates_are_reported_and_the_oldest_is_taken() -> None:
    world = World(has_store=False)
    submission(world).get_or_submit(REQUEST, PLACE)
    world.now += 60
    second = with_user_data(REQUEST, IDENTITY.idempotency_key(fingerprint(REQUEST, PLACE), "nobody"))
    world.jobs.append(
        replace(
            world.jobs[0],
            job_id="j9",
            creation_time=datetime.fromtimestamp(START + 5, UTC),
            operation=second["Operation"],
        )
    )
    log = RecordingLog()
    assert submission(world, 2, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
    assert any("Suspected duplicates of job j1" in line and "j9" in line for line in log.lines)


class TestListingDenied:
    def test_fails_and_names_the_permission(self) -> None:
        world = World(answers=("lost before",))
        world.listable = False
        with pytest.raises(AmbiguousSubmissionError, match="ci:DescribeMediaJobs"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert not world.jobs

    def test_submits_again_if_the_user_accepts_the_risk(self) -> None:
        world = World(answers=("lost before",))
        world.listable = False
        assert submission(world, resubmit_if_unknown=True).get_or_submit(REQUEST, PLACE).job_id == "j1"


class TestATypeThatMayNotBeListed:
    """No document says that the list shows its jobs. An empty list is believed if it shows any of them."""

    class Service(World):
        shows_type: Any = False

        def is_list_documented(self, request: Any) -> bool:
            return False

        def ask_if_listed(self, request: Any) -> bool:
            if isinstance(self.shows_type, Exception):
                raise self.shows_type
            return self.step("any", lambda: bool(self.shows_type))

        def _list(self, request: Any, since: datetime) -> list[Any]:
            return super()._list(request, since) if self.shows_type is True else []

    def world(self, answer: str = "lost after", **changes: Any) -> World:
        world = self.Service(answers=(answer,), **changes)
        world.shows_type = False
        return world

    @pytest.mark.parametrize("answer", ["lost before", "lost after"])
    def test_nothing_is_submitted_again_if_the_list_shows_none_of_them(self, answer: str) -> None:
        world = self.world(answer)
        with pytest.raises(AmbiguousSubmissionError) as caught:
            submission(world).get_or_submit(REQUEST, PLACE)
        assert "the job list shows no job with Tag VoiceSeparate at all, and may not show" in str(
            caught.value
        )
        assert 'on_ambiguous_submit="resubmit"' in str(caught.value)
        assert world.calls.count("submit") == 1
        assert world.now - START >= SUBMISSION_VALIDITY + LIST_CONSISTENCY_DELAY, "it had time to appear"

    def test_a_retry_without_a_record_submits_nothing_either(self) -> None:
        world = self.world(has_store=False)
        with pytest.raises(AmbiguousSubmissionError, match="no job with Tag VoiceSeparate at all"):
            submission(world, 2).get_or_submit(REQUEST, PLACE)
        assert world.calls.count("submit") == 0

    def test_the_list_is_believed_if_it_shows_any_of_them(self) -> None:
        world, log = self.world("lost before"), RecordingLog()
        world.shows_type = True  # type: ignore[attr-defined]
        assert submission(world, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert world.calls.count("any") == 1
        assert any("none was accepted" in line for line in log.lines)

    def test_the_job_is_found_if_it_is_listed(self) -> None:
        world = self.world()
        world.shows_type = True  # type: ignore[attr-defined]
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert (world.calls.count("submit"), world.calls.count("any")) == (1, 0)

    def test_the_user_may_accept_the_risk(self) -> None:
        world, log = self.world(), RecordingLog()
        one = submission(world, log=log, resubmit_if_unknown=True)
        assert one.get_or_submit(REQUEST, PLACE).job_id == "j2"
        assert any("at the risk of a second paid job" in line for line in log.lines)
        assert not any("none was accepted" in line for line in log.lines)

    @pytest.mark.parametrize("resubmits", [True, False])
    @pytest.mark.parametrize("method", ["_list", "ask_if_listed"])
    def test_a_list_that_refuses_the_tag_proves_nothing(
        self, mocker: MockerFixture, method: str, resubmits: bool
    ) -> None:
        world = self.world()
        refusal = InvalidRequestError("no such tag", status=400, code="InvalidArgument")
        mocker.patch.object(world, method, side_effect=refusal)
        one = submission(world, resubmit_if_unknown=resubmits)
        if resubmits:
            assert one.get_or_submit(REQUEST, PLACE).job_id == "j2"
            return
        with pytest.raises(AmbiguousSubmissionError, match="may not show this type: InvalidArgument"):
            one.get_or_submit(REQUEST, PLACE)
        assert world.calls.count("submit") == 1

    def test_an_outage_proves_nothing(self) -> None:
        world = self.world()
        world.shows_type = ServerError("away", status=503, code="Busy")  # type: ignore[attr-defined]
        with pytest.raises(AmbiguousSubmissionError, match="the job list could not be read: Busy"):
            submission(world, resubmit_if_unknown=True).get_or_submit(REQUEST, PLACE)
        assert world.calls.count("submit") == 1

    def test_a_documented_list_that_refuses_the_tag_is_an_error(self, mocker: MockerFixture) -> None:
        world = World(answers=("lost after",))
        mocker.patch.object(world, "_list", side_effect=InvalidRequestError("no", status=400))
        with pytest.raises(InvalidRequestError):
            submission(world, resubmit_if_unknown=True).get_or_submit(REQUEST, PLACE)
        assert world.calls.count("submit") == 1


class TestOtherDeployments:
    """Two Airflows run the same DAG with the same run ids on one bucket."""

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("request_", [REQUEST, BATCH], ids=["job", "batch"])
    def test_neither_takes_the_others_job(self, request_: Any, has_store: bool) -> None:
        world = World(has_store=has_store)
        staging = IDENTITY._replace(deployment="staging")
        submission(world, identity=staging).get_or_submit(request_, PLACE)
        world.stored.clear()  # each has a store of its own
        assert submission(world, 2).get_or_submit(request_, PLACE).job_id == "j2"

    @pytest.mark.parametrize("has_store", [True, False])
    def test_neither_cancels_the_others_job(self, has_store: bool) -> None:
        world = World(has_store=has_store)
        other_codec = with_value(REQUEST, "Operation.TemplateId", "t1")
        staging = IDENTITY._replace(deployment="staging")
        submission(world, identity=staging).get_or_submit(other_codec, PLACE)
        world.stored.clear()
        submission(world, 2).get_or_submit(REQUEST, PLACE)
        assert world.active == ["j1", "j2"]


class TestCopiedUserData:
    """Somebody submits a job by hand, and copies the UserData of this task's job into it."""

    def copied(self, world: World, request: Tree) -> None:
        copy = with_value(request, "Operation.UserData", world.jobs[0].user_data)
        world._accept(copy, world.now + 1)

    @pytest.mark.parametrize("has_store", [True, False])
    def test_is_not_taken(self, has_store: bool) -> None:
        world, log = World(has_store=has_store), RecordingLog()
        submission(world).get_or_submit(REQUEST, PLACE)
        self.copied(world, REQUEST)
        world.set_state("j1", "Failed")
        world.now += 100
        if has_store:
            del world.stored[STORE_KEY]["job_id"]
        assert submission(world, 2, log=log).get_or_submit(REQUEST, PLACE).job_id == "j3"
        assert any("Job j2 has the UserData of job j1" in line for line in log.lines)

    def test_is_not_cancelled(self) -> None:
        world = World(has_store=False)
        submission(world).get_or_submit(REQUEST, PLACE)
        self.copied(world, REQUEST)
        world.now += 100
        submission(world, 2).get_or_submit({**REQUEST, "QueueId": "p1"}, PLACE)
        assert [job.state for job in world.jobs] == ["Cancel", "Submitted", "Submitted"]


class TestAListWithoutUserData:
    """What the service leaves out of a list is asked for, and what it leaves out everywhere is not needed."""

    class Service(World):
        describes_user_data = True

        def _list(self, request: Any, since: datetime) -> list[Any]:
            return [self._bare(job) for job in super()._list(request, since)]

        def describe(self, job_id: str) -> JobsResponse:
            answer = super().describe(job_id)
            if self.describes_user_data:
                return answer
            return replace(answer, jobs_detail=tuple(self._bare(job) for job in answer.jobs_detail))

        def _bare(self, job: Any) -> Any:
            return replace(job, operation={**job.operation, "UserData": None})

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("described", [True, False])
    @pytest.mark.parametrize("request_", [REQUEST, OWN_DATA], ids=["key", "own-data"])
    def test_a_lost_answer_is_paid_once(self, request_: Any, described: bool, has_store: bool) -> None:
        world = self.Service(has_store=has_store, answers=("lost after",))
        world.describes_user_data = described
        assert submission(world).get_or_submit(request_, PLACE).job_id == "j1"
        assert len(world.jobs) == 1

    def test_a_job_that_cannot_be_described_yet_is_not_judged(self) -> None:
        """The service lists another task's job, and does not describe it at the first look."""
        world = self.Service(answers=("ok", "lost before"))
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(REQUEST, PLACE)
        world.stored.clear()
        describe, looks = world.describe, iter([JobsResponse(non_exist_job_ids=("j1",))])
        world.describe = lambda job_id: next(looks, None) or describe(job_id)  # type: ignore[method-assign]
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j2"

    def test_nothing_is_submitted_while_a_job_cannot_be_described_at_all(self) -> None:
        world = self.Service(answers=("lost after",))
        world.describe = lambda job_id: JobsResponse(non_exist_job_ids=(job_id,))  # type: ignore[method-assign]
        with pytest.raises(AmbiguousSubmissionError, match="whether job j1 is this task's"):
            submission(world).get_or_submit(REQUEST, PLACE)
        assert len(world.jobs) == 1

    @pytest.mark.parametrize(("described", "is_uncertain"), [(True, False), (False, True)])
    def test_a_job_that_was_found_by_its_request_alone_may_be_somebody_elses(
        self, described: bool, is_uncertain: bool
    ) -> None:
        world = self.Service(answers=("lost after",))
        world.describes_user_data = described
        one = submission(world)
        one.get_or_submit(REQUEST, PLACE)
        assert one.found_by_request is is_uncertain
        assert SubmissionRecords(world, 1).was_found_by_request("j1") is is_uncertain

    def test_a_job_that_differs_in_any_field_is_another_one(self) -> None:
        world = self.Service(answers=("ok", "lost before"))
        world.describes_user_data = False
        other = with_value(REQUEST, "Operation.VoiceSeparate.AudioConfig", {"Codec": "wav"})
        submission(world).get_or_submit(other, PLACE)
        world.stored.clear()
        assert submission(world).get_or_submit(REQUEST, PLACE).job_id == "j2"


class TestAListThatFails:
    def world(self, failures: int) -> World:
        world = World(answers=("lost after",))
        listing, errors = world._list, iter([ServerError("away", status=503, code="Busy")] * failures)

        def failing(request: Any, since: datetime) -> list[Any]:
            for error in errors:
                raise error
            return listing(request, since)

        world._list = failing  # type: ignore[method-assign]
        return world

    def test_an_outage_is_waited_out(self) -> None:
        world, log = self.world(4), RecordingLog()
        assert submission(world, log=log).get_or_submit(REQUEST, PLACE).job_id == "j1"
        assert len(world.jobs) == 1
        assert any("The job list could not be read, will try again" in line for line in log.lines)

    def test_an_outage_that_does_not_end_says_that_a_job_may_run(self) -> None:
        world = self.world(1000)
        with pytest.raises(AmbiguousSubmissionError, match="It may run and be billed") as caught:
            submission(world).get_or_submit(REQUEST, PLACE)
        assert (caught.value.status, caught.value.code) == (503, "Busy")
        assert world.now - START >= SUBMISSION_VALIDITY + LIST_CONSISTENCY_DELAY
