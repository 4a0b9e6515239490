"""What is submitted, found and refused of many items: each row of the tables, and the rules around them."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_ci.exceptions import (
    AmbiguousSubmissionError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QueueFullError,
    RequestValidationError,
    ServerError,
    StateStoreError,
    TaskKilledError,
    TencentCIError,
    ThrottledError,
    TransportError,
)
from airflow_provider_ci.protocol.jobs import CANCEL, FAILED
from airflow_provider_ci.submission.bulk_jobs import BulkJobs
from airflow_provider_ci.submission.bulk_records import BULK_KEY, BulkRecords, ChunkRecord
from airflow_provider_ci.submission.concurrent_calls import ConcurrentCalls
from airflow_provider_ci.submission.idempotency_key import with_user_data
from airflow_provider_ci.submission.record import TRY_KEY
from tests.unit.submission.bulk_world import Chances, Items, Process, Service, items
from tests.unit.submission.simulated_world import IDENTITY, START, Crash


def refuse(mocker: MockerFixture, service: Service, *errors: Exception | None) -> None:
    """Let the first submissions end with errors; ``None``: as usual."""
    post, remaining = service.post, list(errors)

    def answer(request: Any, expires_at: float) -> Any:
        error = remaining.pop(0) if remaining else None
        if error is not None:
            raise error
        return post(request, expires_at)

    mocker.patch.object(service, "post", answer)


def names_of_posts(service: Service) -> list[str]:
    return sorted(service.posts.elements())


class TestFirstTry:
    def test_submits_each_item_once_after_recording_it(self) -> None:
        service = Service()
        process = Process(service, 1)
        jobs = process.run(items(3))
        assert jobs.job_ids == [service_job(service, name) for name in ("in/0.mp3", "in/1.mp3", "in/2.mp3")]
        assert (jobs.submitted, jobs.reused, jobs.refusals) == (3, 0, {})
        assert jobs.first_submission == START
        assert jobs.last_submission is not None
        assert START <= jobs.last_submission <= service.now
        before = process.calls[: process.calls.index("submit")]
        # the try, the head, the chunk; each of the last two between two looks for another try
        assert before.count("set") == 3
        assert "list" not in process.calls
        chunk = service.store["ci_bulk_001_0001"]
        assert chunk["job_ids"] == jobs.job_ids
        assert chunk["since"] == START

    def test_names_all_to_whoever_may_refuse_them(self) -> None:
        service, asked = Service(), []

        def refuse_them(indices: Sequence[int]) -> None:
            asked.append(list(indices))
            raise RequestValidationError(["too many"])

        with pytest.raises(RequestValidationError):
            Process(service, 1, before_submission=refuse_them).run(items(3))
        assert asked == [[0, 1, 2]]
        assert not service.jobs
        assert BULK_KEY not in service.store

    def test_without_store_asks_airflow_before_each_chunk(self, small_chunks: None) -> None:
        process = Process(Service(has_store=False), 1)
        process.run(items(9))
        assert process.calls.count("ask") == 3

    def test_refuses_two_items_that_are_the_same_job(self) -> None:
        service = Service()
        with pytest.raises(RequestValidationError, match=r"in/a.mp3 and in/a.mp3 ask for the same job"):
            Process(service, 1).run(Items(["in/a.mp3", "in/b.mp3", "in/a.mp3"]))
        assert not service.jobs

    def test_reports_progress_each_second(self) -> None:
        service, moments = Service(), []
        process = Process(service, 1, on_progress=lambda jobs: moments.append(service.now))
        process.run(items(200))
        assert len(moments) >= 9  # 200 items need ten seconds
        assert max(after - before for before, after in itertools.pairwise(moments)) < 2

    def test_shows_the_first_failure_before_the_last_submission(self) -> None:
        service = Service()
        service.chances = Chances(ends=0.05, fails=0.3)
        process = Process(service, 1)
        seen: list[int] = []
        process.submission.on_progress = lambda jobs: seen.append(len(list(jobs.failed())))
        process.run(items(600))
        assert any(count > 0 for count in seen[:-1])
        logged = [line for line in process.log.lines if "ended Failed" in line]
        assert 0 < len(logged) <= 20


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_ci.submission.bulk_sender.CHUNK_SIZE", 4)


def service_job(service: Service, name: str) -> str:
    """Return the latest job of an input."""
    return [job_id for job_id, job in service.jobs.items() if job.input_object == name][-1]


class TestRetry:
    """The first table, of a second try."""

    def earlier(self, state: str = "Success", **world: Any) -> tuple[Service, BulkJobs]:
        """Return a service where an earlier try has submitted three items, of which the first has ended."""
        service = Service(**world)
        jobs = Process(service, 1).run(items(3))
        service.pass_time(100)
        if state != "Submitted":
            service.end(str(jobs.job_ids[0]), state)
        service.pass_time(100)
        return service, jobs

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("state", ["Success", "Submitted"])
    def test_continues_with_the_jobs(self, state: str, has_store: bool) -> None:
        service, earlier = self.earlier(state, has_store=has_store)
        process = Process(service, 2)
        jobs = process.run(items(3))
        assert jobs.job_ids == earlier.job_ids
        assert jobs.states == [state, "Submitted", "Submitted"]
        assert (jobs.submitted, jobs.reused) == (0, 3)
        assert len(names_of_posts(service)) == 3
        assert process.calls.count("list") == 1

    @pytest.mark.parametrize("has_store", [True, False])
    def test_submits_what_has_failed(self, has_store: bool) -> None:
        service, earlier = self.earlier("Failed", has_store=has_store)
        jobs = Process(service, 2).run(items(3))
        assert jobs.job_ids == ["j0004", *earlier.job_ids[1:]]
        assert (jobs.submitted, jobs.reused) == (1, 2)

    @pytest.mark.parametrize("has_store", [True, False])
    @pytest.mark.parametrize("clears", [1, -1])  # -1: the DAG's retries were lowered meanwhile
    def test_does_not_submit_what_would_fail_again(self, has_store: bool, clears: int) -> None:
        service, earlier = self.earlier("Failed", has_store=has_store)
        first = str(earlier.job_ids[0])
        service.jobs[first] = replace(service.jobs[first], code="ResourceNotSupported")
        jobs = Process(service, 2).run(items(3))
        assert jobs.job_ids == earlier.job_ids
        assert list(jobs.failed()) == [0]
        assert (jobs.submitted, jobs.reused) == (0, 2)
        cleared = Process(service, 2, clears=clears).run(items(3))
        assert cleared.job_ids == ["j0004", *earlier.job_ids[1:]]

    def test_does_not_submit_what_somebody_else_cancelled(self) -> None:
        service, earlier = self.earlier("Cancel")
        jobs = Process(service, 2).run(items(3))
        assert jobs.job_ids == earlier.job_ids
        assert list(jobs.failed()) == [0]
        assert jobs.states[0] == CANCEL
        assert jobs.reused == 2

    def test_submits_what_this_task_cancelled(self) -> None:
        service, earlier = self.earlier("Submitted")
        killed = Process(service, 1)
        killed.submission.records.note_cancel_request(service.now)
        service.end(str(earlier.job_ids[0]), CANCEL)
        assert Process(service, 2).run(items(3)).job_ids[0] == "j0004"

    def test_submits_what_was_cancelled_if_there_is_no_store(self) -> None:
        service, _ = self.earlier("Cancel", has_store=False)
        assert Process(service, 2).run(items(3)).job_ids[0] == "j0004"

    def test_submits_what_was_cancelled_before_a_clear(self) -> None:
        service, _ = self.earlier("Cancel")
        assert Process(service, 2, clears=1).run(items(3)).job_ids[0] == "j0004"

    def test_does_not_submit_what_was_cancelled_after_a_clear(self) -> None:
        service, earlier = self.earlier("Submitted")
        Process(service, 2, clears=1).run(items(3))
        service.pass_time(100)
        service.end(str(earlier.job_ids[0]), CANCEL)
        assert Process(service, 3, clears=1).run(items(3)).job_ids == earlier.job_ids

    @pytest.mark.parametrize("has_store", [True, False])
    def test_continues_with_good_jobs_after_a_clear(self, has_store: bool) -> None:
        service, earlier = self.earlier("Success", has_store=has_store)
        assert Process(service, 2, clears=1).run(items(3)).job_ids == earlier.job_ids

    @pytest.mark.parametrize("has_store", [True, False])
    def test_are_found_although_the_list_has_no_user_data_and_a_slash_before_each_key(
        self, has_store: bool
    ) -> None:
        service = Service(has_store=has_store, list_has_user_data=False)
        process = Process(service, 1)
        process.crash_on = "after submit"
        with pytest.raises(Crash):
            process.run(items(3))
        for job_id, job in service.jobs.items():
            slashed = {**(job.input or {}), "Object": f"/{job.input_object}"}
            service.jobs[job_id] = replace(job, input=slashed)
        assert service.jobs
        jobs = Process(service, 2).run(items(3))
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)

    @pytest.mark.parametrize("has_store", [True, False])
    def test_only_a_clear_submits_a_success_again_whose_result_reports_a_failure(
        self, has_store: bool
    ) -> None:
        service, earlier = self.earlier("Success", has_store=has_store)
        first = str(earlier.job_ids[0])
        operation = {**(service.jobs[first].operation or {}), "VideoTagResult": {"SubErrCode": "1"}}
        service.jobs[first] = replace(service.jobs[first], operation=operation)
        assert Process(service, 2).run(items(3)).job_ids == earlier.job_ids
        jobs = Process(service, 3, clears=1).run(items(3))
        assert jobs.job_ids == ["j0004", *earlier.job_ids[1:]]

    @pytest.mark.parametrize("has_store", [True, False])
    def test_pays_anew_after_a_clear_if_asked_to(self, has_store: bool) -> None:
        service, earlier = self.earlier("Success", has_store=has_store)
        jobs = Process(service, 2, clears=1, only_failed=False).run(items(3))
        assert jobs.job_ids == ["j0004", *earlier.job_ids[1:]], "what has not ended is waited for"
        service.end_some(1.0)
        again = Process(service, 3, clears=1, only_failed=False).run(items(3))
        if has_store:  # otherwise nothing says that the old jobs were waited for since the clear
            assert again.job_ids == jobs.job_ids

    def test_cancels_what_no_item_asks_for_any_more(self) -> None:
        service, earlier = self.earlier("Success")
        cancelled: list[str] = []
        process = Process(service, 2, cancel=cancelled.extend)
        jobs = process.run(Items(["in/0.mp3", "in/new.mp3"]))
        assert jobs.job_ids == [earlier.job_ids[0], "j0004"]
        assert sorted(cancelled) == sorted(map(str, earlier.job_ids[1:]))

    def test_continues_although_they_cannot_be_cancelled(self) -> None:
        service, _ = self.earlier("Success")

        def fail(job_ids: Sequence[str]) -> None:
            raise ServerError("away", status=503)

        process = Process(service, 2, cancel=fail)
        process.run(Items(["in/0.mp3"]))
        assert any("2 jobs could not be cancelled: away" in line for line in process.log.lines)

    def test_searches_only_for_the_chunk_without_job_ids(self, small_chunks: None) -> None:
        """The other items do not wait until it is certain what became of that chunk."""
        service = Service()
        first = Process(service, 1)
        first.crash_at = 45
        with pytest.raises(Crash):
            first.run(items(12))
        known = [job_id for chunk in chunks(service) for job_id in chunk["job_ids"] if job_id]
        unknown = [job_id for chunk in chunks(service) for job_id in chunk["job_ids"] if job_id is None]
        assert (len(known), len(unknown)) == (4, 4)
        second = Process(service, 2)
        sent: list[float] = []
        post = service.post
        service.post = lambda *arguments: (sent.append(service.now), post(*arguments))[1]  # type: ignore
        jobs = second.run(items(12))
        assert None not in jobs.job_ids
        assert sent[0] < START + 30, "the last chunk is sent at once"
        assert sent[-1] > START + 70, "and what is absent when that is certain"
        assert not service.paid_twice()

    @pytest.mark.parametrize("lag", [0, 9])
    def test_the_list_is_believed_when_it_must_show_all(self, lag: float) -> None:
        service = Service(chances=Chances(late=1.0), lag=lag)
        first = Process(service, 1)
        first.kill_at = 30
        with pytest.raises((TaskKilledError, Crash)):
            first.run(items(5))
        service.chances = Chances()
        jobs = Process(service, 2).run(items(5))
        service.pass_time(200)
        assert not service.paid_twice()
        assert None not in jobs.job_ids

    def test_describes_what_the_list_does_not_show(self) -> None:
        service, earlier = self.earlier(is_documented=False, is_listed=False)
        process = Process(service, 2)
        assert process.run(items(3)).job_ids == earlier.job_ids
        assert "list" not in process.calls

    def test_describes_if_listing_is_not_permitted(self) -> None:
        service, earlier = self.earlier(may_list=False)
        assert Process(service, 2).run(items(3)).job_ids == earlier.job_ids

    def test_submits_what_the_service_does_not_know_any_more(self) -> None:
        service, earlier = self.earlier("Success")
        del service.jobs[str(earlier.job_ids[0])]
        began, process = service.now, Process(service, 2)
        jobs = process.run(items(3))
        assert jobs.job_ids[1:] == earlier.job_ids[1:]
        assert service.jobs[str(jobs.job_ids[0])].input_object == "in/0.mp3"
        assert service.now - began > 100
        assert any("The service no longer finds 1 jobs" in line for line in process.log.lines)

    def test_takes_no_copy_and_no_job_of_another_airflow(self) -> None:
        service, earlier = self.earlier("Failed")
        service.accept_of_stranger(service.jobs[str(earlier.job_ids[0])].user_data)
        other = IDENTITY._replace(deployment="staging")
        service.accept_of_stranger(other.idempotency_key(items(3).fingerprint(0), "worker"))
        process = Process(service, 2)
        assert process.run(items(3)).job_ids[0] == "j0006"
        assert any("has the UserData of job j" in line for line in process.log.lines)

    def test_names_suspected_duplicates(self) -> None:
        service, earlier = self.earlier("Success")
        twin = IDENTITY.idempotency_key(items(3).fingerprint(0), "triggerer")
        request = {**items(3).request(0), "Operation": {"UserData": twin}}
        service.accept(request, service.now)
        process = Process(service, 2)
        assert process.run(items(3)).job_ids == earlier.job_ids
        expected = f"error: Suspected duplicates of job {earlier.job_ids[0]}, each billed: j0004"
        assert expected in process.log.lines

    @pytest.mark.parametrize("describe_has_user_data", [True, False])
    def test_finds_jobs_of_which_the_list_leaves_out_user_data(self, describe_has_user_data: bool) -> None:
        service, earlier = self.earlier(
            has_store=False, list_has_user_data=False, describe_has_user_data=describe_has_user_data
        )
        jobs = Process(service, 2).run(items(3))
        assert jobs.job_ids == earlier.job_ids
        assert jobs.found_by_request == (set() if describe_has_user_data else {0, 1, 2})

    def test_recorded_jobs_are_its_own_although_nothing_returns_user_data(self) -> None:
        service, earlier = self.earlier(list_has_user_data=False, describe_has_user_data=False)
        process = Process(service, 2)
        jobs = process.run(items(3))
        assert jobs.job_ids == earlier.job_ids
        assert jobs.found_by_request == set()
        assert "describe" not in process.calls

    def test_does_not_guess_whose_job_it_is_that_is_not_described(self, mocker: MockerFixture) -> None:
        service, _ = self.earlier(has_store=False, list_has_user_data=False)
        mocker.patch.object(service, "described", return_value=[])
        with pytest.raises(AmbiguousSubmissionError, match="whether job j0001 is this task's"):
            Process(service, 2).run(items(3))
        assert len(service.jobs) == 3


def chunks(service: Service) -> list[dict[str, Any]]:
    return [value for key, value in sorted(service.store.items()) if key.startswith("ci_bulk_0")]


class TestDoubt:
    """Nothing proves that there is no job."""

    def crashed(self, **world: Any) -> Service:
        """Return a service whose task died with a chunk of which nothing was accepted."""
        service = Service(**world)
        process = Process(service, 1)
        process.crash_on = "submit"
        with pytest.raises(Crash):
            process.run(items(2))
        return service

    def test_fails_if_listing_is_not_permitted(self) -> None:
        service = self.crashed(may_list=False)
        with pytest.raises(AmbiguousSubmissionError, match="listing jobs is not permitted"):
            Process(service, 2).run(items(2))

    def test_fails_if_the_list_may_not_show_the_type(self) -> None:
        service = self.crashed(is_documented=False, is_listed=False)
        with pytest.raises(AmbiguousSubmissionError, match="may not show this type"):
            Process(service, 2).run(items(2))

    @pytest.mark.parametrize("world", [{"may_list": False}, {"is_documented": False, "is_listed": False}])
    def test_submits_if_the_risk_is_accepted(self, world: dict[str, bool]) -> None:
        service = self.crashed(**world)
        jobs = Process(service, 2, resubmit_if_unknown=True).run(items(2))
        assert None not in jobs.job_ids

    def test_fails_if_the_list_cannot_be_read(self) -> None:
        service = self.crashed(chances=Chances(list_fails=1.0))
        with pytest.raises(AmbiguousSubmissionError, match="the job list could not be read"):
            Process(service, 2).run(items(2))
        assert not service.jobs


class TestResponses:
    """The second table."""

    def test_a_lost_response_is_no_second_job(self, mocker: MockerFixture) -> None:
        service = Service(lag=9)
        post, lost = service.post, []

        def lose(request: Any, expires_at: float) -> Any:
            job = post(request, expires_at)
            if len(lost) < 3:
                lost.append(job.job_id)
                raise AmbiguousSubmissionError("timeout")
            return job

        mocker.patch.object(service, "post", lose)
        jobs = Process(service, 1).run(items(8))
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)
        assert (jobs.submitted, jobs.reused) == (8, 0)
        recorded = {job_id for chunk in chunks(service) for job_id in chunk["job_ids"]}
        assert recorded - {None} == set(jobs.job_ids), "a retry need not search for them"

    def test_a_lost_job_that_has_failed_is_not_submitted_again_by_this_try(
        self, mocker: MockerFixture
    ) -> None:
        service = Service()
        post = service.post

        def lose(request: Any, expires_at: float) -> Any:
            job = post(request, expires_at)
            service.end(str(job.job_id), FAILED)
            raise AmbiguousSubmissionError("timeout")

        mocker.patch.object(service, "post", lose)
        jobs = Process(service, 1).run(items(1))
        assert (jobs.job_ids, jobs.states) == (["j0001"], [FAILED])
        assert service.posts["in/0.mp3"] == 1

    def test_an_item_is_submitted_three_times_at_most(self) -> None:
        service = Service(chances=Chances(lost_before=1.0))
        process = Process(service, 1)
        jobs = process.run(items(2))
        assert process.calls.count("submit") == 6
        assert jobs.job_ids == [None, None]
        assert jobs.refusals[1].message == "reset"
        assert "none of 3 submissions" in str(jobs.refusals[1].hint)
        assert service.now - START >= 3 * 70

    @pytest.mark.parametrize(
        "error",
        [
            ThrottledError("slow down", status=429),
            QueueFullError("full", status=403, code="QueueSaturated"),
            TransportError("refused", sent=False),
            ServerError("timeout", status=400, code="RequestTimeout"),
        ],
    )
    def test_what_was_not_accepted_is_sent_again(self, mocker: MockerFixture, error: TencentCIError) -> None:
        service = Service()
        refuse(mocker, service, error, error)
        process = Process(service, 1)
        jobs = process.run(items(4))
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)
        assert process.calls.count("submit") == 6
        assert service.now > START + 1

    def test_all_wait_as_long_as_the_service_asks(self, mocker: MockerFixture) -> None:
        service, moments = Service(), []
        throttled = ThrottledError("slow down", status=429)
        throttled.retry_after = 25.0
        refuse(mocker, service, throttled)
        post = service.post

        def note(request: Any, expires_at: float) -> Any:
            moments.append(service.now)
            return post(request, expires_at)

        mocker.patch.object(service, "post", note)
        Process(service, 1).run(items(30))
        in_flight = 4  # as many calls as the model runs at once
        assert all(moment >= moments[0] + 25 for moment in moments[in_flight:])

    def test_a_full_queue_is_waited_for_as_long_as_it_takes(self, mocker: MockerFixture) -> None:
        service = Service(chances=Chances(queue_full=1.0))
        process = Process(service, 1)
        process.submission.on_progress = lambda jobs: mocker.patch.object(
            service, "chances", Chances(queue_full=float(service.now < START + 7200))
        )
        jobs = process.run(items(3))
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)
        assert service.now > START + 7200
        assert len(chunks(service)) == 1, "a chunk of which nothing was accepted needs no key of its own"

    @pytest.mark.parametrize("chances", [Chances(no_connection=1.0), Chances(throttled=1.0)])
    def test_an_outage_ends_the_task_after_ten_minutes(self, chances: Chances) -> None:
        service = Service(chances=chances)
        with pytest.raises((TransportError, ThrottledError)):
            Process(service, 1).run(items(3))
        assert 600 < service.now - START < 700
        service.chances = Chances()
        began = service.now
        jobs = Process(service, 2).run(items(3))
        assert None not in jobs.job_ids
        assert service.now - began < 10, "all is known to be not accepted"

    @pytest.mark.parametrize(
        "error",
        [
            InvalidRequestError("no", status=400, code="InvalidArgument"),
            NotFoundError("no", status=404, code="NoSuchKey"),
            PermissionDeniedError("no", status=403, code="ResourceAccessDenied"),
            ServerError("no", status=400, code="ResourceDownloadFailed"),
            RequestValidationError(["x is 3"]),
        ],
    )
    def test_a_refused_item_fails_and_the_others_go_on(
        self, mocker: MockerFixture, error: TencentCIError
    ) -> None:
        error.request_id = "r7"
        service = Service()
        refuse(mocker, service, None, error)
        process = Process(service, 1)
        jobs = process.run(items(4))
        (index,) = jobs.refusals
        assert jobs.refusals[index].request_id == "r7"
        assert list(jobs.failed()) == [index]
        assert [job_id is None for job_id in jobs.job_ids].count(True) == 1
        assert process.calls.count("submit") == 4
        assert any(line.startswith("error: No job for in/") for line in process.log.lines)
        assert None not in Process(service, 2).run(items(4)).job_ids, "a retry submits it again"

    @pytest.mark.parametrize(
        "error",
        [
            PermissionDeniedError("no", status=403, code="AccessDenied"),
            NotFoundError("no", status=404, code="NoSuchBucket"),
            TencentCIError("the connection is wrong"),
        ],
    )
    def test_what_would_be_refused_for_all_ends_the_task(
        self, mocker: MockerFixture, error: TencentCIError
    ) -> None:
        service = Service()
        refuse(mocker, service, None, error)
        process = Process(service, 1)
        with pytest.raises(type(error)):
            process.run(items(100))
        assert process.calls.count("submit") <= 2 + 4, "those that were under way"
        jobs = process.submission.jobs
        assert [job_id for job_id in jobs.job_ids if job_id] != []
        mocker.stopall()
        began = service.now
        assert None not in Process(service, 2).run(items(100)).job_ids
        assert not service.paid_twice()
        assert service.now - began < 65

    def test_a_task_of_which_the_first_items_are_all_refused_ends(self) -> None:
        service = Service(chances=Chances(refused=1.0))
        process = Process(service, 1)
        with pytest.raises(InvalidRequestError):
            process.run(items(100))
        assert 20 <= process.calls.count("submit") <= 20 + 4

    def test_refusals_end_no_task_of_which_a_job_was_accepted_before(self) -> None:
        requests = Items([*items(3).names, *(f"refused/{number}" for number in range(30))])
        service = Service()
        Process(service, 1).run(requests)
        jobs = Process(service, 2).run(requests)
        assert (jobs.reused, len(jobs.refusals)) == (3, 30)

    def test_a_corrected_clock_ends_the_chunk_whose_time_was_wrong(self, mocker: MockerFixture) -> None:
        """Whatever corrected it: the signatures of that chunk would be valid for an hour."""
        service, valid_for = Service(), []
        ahead, post = [3600.0], service.post

        def note(request: Any, expires_at: float) -> Any:
            valid_for.append(expires_at - service.now)
            ahead[0] = 0.0
            return post(request, expires_at)

        mocker.patch.object(service, "post", note)
        jobs = Process(service, 1, clock=lambda: service.now + ahead[0]).run(items(20))
        assert None not in jobs.job_ids
        under_way = 4  # as many calls as the model runs at once
        assert max(valid_for[under_way:]) <= 60

    def test_a_fault_of_the_provider_leaves_the_item_in_doubt(self, mocker: MockerFixture) -> None:
        service = Service()
        post = service.post

        def fail(request: Any, expires_at: float) -> Any:
            post(request, expires_at)
            raise KeyError("a fault")

        mocker.patch.object(service, "post", fail)
        with pytest.raises(KeyError):
            Process(service, 1).run(items(1))
        mocker.stopall()
        assert Process(service, 2).run(items(1)).job_ids == ["j0001"]


class TestRoom:
    @pytest.mark.parametrize("is_documented", [True, False])
    def test_no_more_jobs_are_active_than_may_be(self, is_documented: bool) -> None:
        service = Service(chances=Chances(ends=0.02), is_documented=is_documented, is_listed=is_documented)
        process = Process(service, 1, max_active_jobs=10)
        jobs = process.run(items(50))
        assert None not in jobs.job_ids
        assert service.most_active <= 10

    def test_jobs_of_earlier_tries_take_room(self) -> None:
        service = Service()
        Process(service, 1).run(items(8))
        service.chances = Chances(ends=0.01)
        service.pass_time(0)
        process = Process(service, 2, max_active_jobs=10)
        assert None not in process.run(items(20)).job_ids
        assert service.most_active <= 10

    def test_without_permission_to_list_jobs_they_are_described(self) -> None:
        service = Service(chances=Chances(ends=0.05), may_list=False)
        process = Process(service, 1, max_active_jobs=4)
        assert None not in process.run(items(12)).job_ids
        assert service.most_active <= 4

    def test_a_count_that_fails_is_repeated(self, mocker: MockerFixture) -> None:
        service = Service(chances=Chances(ends=0.05, list_fails=0.5))
        process = Process(service, 1, max_active_jobs=4)
        assert None not in process.run(items(12)).job_ids
        assert any("could not be counted, will try again" in line for line in process.log.lines)
        assert service.most_active <= 4


class TestKilled:
    @pytest.mark.parametrize("moment", range(10, 60, 7))
    def test_nothing_is_sent_afterwards(self, moment: int) -> None:
        service = Service()
        process = Process(service, 1)
        process.kill_at = moment
        with pytest.raises(TaskKilledError):
            process.run(items(30))
        under_way = process.calls[moment:].count("submit")
        assert under_way <= 4
        jobs = Process(service, 2).run(items(30))
        service.pass_time(200)
        assert not service.paid_twice()
        assert None not in jobs.job_ids

    def test_what_is_known_is_recorded(self) -> None:
        service = Service()
        process = Process(service, 1)
        process.kill_at = 60
        with pytest.raises(TaskKilledError):
            process.run(items(30))
        recorded = {job_id for chunk in chunks(service) for job_id in chunk["job_ids"]}
        known = {job_id for job_id in process.submission.jobs.job_ids if job_id}
        assert known
        assert known == recorded - {None, ""}


class TestStore:
    def test_nothing_is_sent_without_a_record(self) -> None:
        service = Service(chances=Chances(store_fails=1.0))
        with pytest.raises(StateStoreError):
            Process(service, 1).run(items(3))
        assert not service.posts

    def test_jobs_that_cannot_be_recorded_are_found_later(self, mocker: MockerFixture) -> None:
        service = Service()
        process = Process(service, 1)
        write, writes = process.set, []

        def fail_after_submission(key: str, value: Any) -> None:
            writes.append(key)
            if len(writes) == 4:  # the try, the head, the chunk before its submission, and after it
                raise OSError("away")
            write(key, value)

        mocker.patch.object(process, "set", fail_after_submission)
        jobs = process.run(items(3))
        assert any("3 jobs are known to this try only" in line for line in process.log.lines)
        assert Process(service, 2).run(items(3)).job_ids == jobs.job_ids

    def test_a_process_of_an_earlier_try_does_not_submit(self) -> None:
        service = Service()
        service.store[TRY_KEY] = 2
        with pytest.raises(TaskKilledError, match="Try 2 of this task has taken over"):
            Process(service, 1).run(items(3))
        assert not service.posts

    def test_a_process_notices_that_a_clear_has_emptied_the_store(self) -> None:
        service = Service()
        process = Process(service, 1)
        process.held_at, process.meanwhile = 9, service.store.clear
        with pytest.raises(TaskKilledError, match="The records of this task were deleted"):
            process.run(items(3))
        assert not service.posts

    def test_a_process_of_before_a_clear_does_not_make_an_emptied_store_complete(self) -> None:
        """Its write came after the clear; the check that follows the write keeps it from submitting."""
        service = Service()
        earlier = Process(service, 1).run(items(3))
        head = service.store[BULK_KEY]
        service.store.clear()
        service.store[BULK_KEY] = head
        service.pass_time(100)
        jobs = Process(service, 2, clears=1, clear_discards_record=True).run(items(3))
        assert jobs.job_ids == earlier.job_ids

    def test_a_process_of_before_a_clear_does_not_make_a_job_one_of_before_it(self) -> None:
        service = Service(list_has_user_data=False, describe_has_user_data=False)
        jobs = Process(service, 1, clears=1).run(items(1))
        lives_on = BulkRecords(Process(service, 2), 2)
        fingerprints = [items(1).fingerprint(0)]
        lives_on.save(ChunkRecord(IDENTITY.max_tries, service.now + 1, fingerprints, jobs.job_ids))
        service.pass_time(100)
        service.end_some(1.0)
        again = Process(service, 3, clears=1, only_failed=False).run(items(1))
        assert again.job_ids == jobs.job_ids

    def test_the_latest_submission_is_in_doubt_although_an_earlier_one_of_a_later_try_is_not(self) -> None:
        """Try 1 was held up before it took over, so that it continued after try 2 and submitted again."""
        service = Service()
        earlier = Process(service, 2).run(items(1))
        service.end(str(earlier.job_ids[0]), FAILED)
        service.pass_time(100)
        fingerprints = [items(1).fingerprint(0)]
        lives_on = BulkRecords(Process(service, 1), 1)
        lives_on.save(ChunkRecord(IDENTITY.max_tries, service.now, fingerprints, [None]))
        key = IDENTITY.idempotency_key(fingerprints[0], "triggerer")
        late = service.accept(with_user_data(items(1).request(0), key), service.now)
        service.show_at(str(late.job_id), service.now + 5)
        assert Process(service, 3).run(items(1)).job_ids == [late.job_id]

    def test_a_second_run_of_the_same_try_keeps_the_chunks_of_the_first(self) -> None:
        service = Service()
        Process(service, 1).run(items(3))
        jobs = Process(service, 1).run(items(5))
        assert len(service.jobs) == 5
        assert Process(service, 2).run(items(5)).job_ids == jobs.job_ids

    def test_a_chunk_is_far_below_the_limit_of_a_value(self) -> None:
        record = ChunkRecord(3, START, ["0" * 12] * 500, ["j" + "0" * 40] * 500)
        assert len(json.dumps(record.to_json())) < 32 * 1024
        assert ChunkRecord.from_json({**record.to_json(), "added_later": 1}, 0) == record

    def test_jobs_found_in_the_list_are_recorded_for_the_next_try(self) -> None:
        service = Service()
        jobs = Process(service, 1).run(items(3))
        service.store.clear()
        Process(service, 2).run(items(3))
        process = Process(service, 3)
        service.may_list = False
        assert process.run(items(3)).job_ids == jobs.job_ids

    def test_a_try_held_up_before_it_took_over_sees_the_chunks_of_a_later_one(self) -> None:
        service = Service()
        Process(service, 1).run(items(2))
        records = BulkRecords(Process(service, 3), 3)
        records.take_over()
        records.save(ChunkRecord(3, START, ["0" * 12], [None]))
        records.note_complete(IDENTITY)
        loaded = list(BulkRecords(Process(service, 2), 2).load())
        assert [chunk.fingerprints for chunk in loaded][-1] == ["0" * 12]


class TestThreads:
    """With real ones."""

    def test_each_item_is_submitted_once_and_the_threads_end(self) -> None:
        service, lock = Service(), threading.Lock()
        process = Process(service, 1, new_calls=ConcurrentCalls, max_submissions_per_second=1e6)
        step = process.step

        def one_at_a_time(name: str, act: Callable[[], Any]) -> Any:
            with lock:
                return step(name, act)

        process.step = one_at_a_time  # type: ignore[method-assign]
        jobs = process.run(items(200))
        assert sorted(map(str, jobs.job_ids)) == sorted(service.jobs)
        assert len(service.jobs) == 200
        assert not [thread for thread in threading.enumerate() if thread.name == "ci-submit"]
