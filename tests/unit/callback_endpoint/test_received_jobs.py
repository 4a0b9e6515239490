"""The queue of jobs of which callbacks have come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.callback_endpoint.received_jobs import PAUSES, ReceivedJob, ReceivedJobs
from airflow_provider_ci.protocol.callbacks import NamedBucket
from airflow_provider_ci.protocol.wire import Endpoint

A, B, C, D = (NamedBucket(f"{letter}-1250000001", None) for letter in "abcd")
PLACE = Endpoint(bucket=A.name, region="ap-guangzhou")


def ids(jobs: list[ReceivedJob]) -> list[str]:
    return [job.job_id for job in jobs]


def callback_of(*job_ids: str, buckets: tuple[NamedBucket, ...] = ()) -> dict[str, tuple[NamedBucket, ...]]:
    return dict.fromkeys(job_ids, buckets)


def test_a_job_is_taken_once_however_many_callbacks_come() -> None:
    jobs = ReceivedJobs()
    for _ in range(3):
        assert jobs.add("c", callback_of("j1", "j2"), now=0.0)
    assert ids(jobs.take_due("c", 0.0, 10)) == ["j1", "j2"]
    assert jobs.take_due("c", 9.0, 10) == []


def test_a_look_is_about_one_connection() -> None:
    jobs = ReceivedJobs()
    jobs.add("a", callback_of("j1"), 0.0)
    jobs.add("b", callback_of("j1"), 0.0)
    jobs.add("a", callback_of("j2"), 0.0)
    assert ids(jobs.take_due("b", 0.0, 10)) == ["j1"]
    assert ids(jobs.take_due("a", 0.0, 10)) == ["j1", "j2"]
    assert [jobs.has_jobs_of(conn_id) for conn_id in "abc"] == [True, True, False]


def test_a_look_has_a_size() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of(*map(str, range(25))), 0.0)
    assert [len(jobs.take_due("c", 0.0, 10)) for _ in range(4)] == [10, 10, 5, 0]


def test_what_does_not_fit_is_refused_and_the_rest_stays() -> None:
    jobs = ReceivedJobs(max_jobs=3)
    assert not jobs.add("c", callback_of("j1", "j2", "j3", "j4"), 0.0)
    assert jobs.add("c", callback_of("j1"), 0.0), "it is there already"
    assert len(jobs) == 3


def test_a_job_is_looked_at_some_times_with_growing_pauses_and_then_forgotten() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    now, looks = 0.0, []
    while taken := jobs.take_due("c", now, 10):
        looks.append(now)
        if not jobs.return_for_later(taken[0], now):
            break
        assert jobs.take_due("c", now + PAUSES[len(looks) - 1] - 0.1, 10) == []
        now += PAUSES[len(looks) - 1]
    assert looks == [0, 2, 6, 14, 30, 62]
    assert len(jobs) == 0


def test_another_callback_brings_the_next_look_forward() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    job.needs_event = False
    jobs.return_for_later(job, 0.0)
    jobs.add("c", callback_of("j1"), 1.0)
    assert jobs.take_due("c", 1.0, 10) == [job]


def test_a_callback_during_the_look_is_not_lost() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    jobs.add("c", callback_of("j1"), 1.0)
    assert jobs.take_due("c", 1.0, 10) == []
    jobs.return_for_later(job, 1.0)
    assert jobs.take_due("c", 1.0, 10) == [job]


def test_what_is_settled_is_looked_at_anew_only_if_a_callback_came_during_the_look() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1", "j2"), 0.0)
    first, second = jobs.take_due("c", 0.0, 10)
    first.looks, first.needs_event, first.waited_in = 5, False, {PLACE: None}
    jobs.add("c", callback_of("j1", buckets=(A,)), 1.0)
    for job in (first, second):
        jobs.settle(job, 2.0)
    (job,) = jobs.take_due("c", 2.0, 10)
    assert (job.job_id, job.looks) == ("j1", 0)
    assert (job.needs_event, job.waited_in, job.buckets) == (False, {PLACE: None}, (A,)), "still known"


def test_a_callback_during_the_last_look_is_not_forgotten() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    job.looks = len(PAUSES)
    jobs.add("c", callback_of("j1"), 1.0)
    assert jobs.return_for_later(job, 1.0)
    assert ids(jobs.take_due("c", 1.0, 10)) == ["j1"]


def test_a_job_that_is_put_back_is_behind_those_that_have_waited() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1", "j2"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 1)
    jobs.return_for_later(job, 0.0)
    assert ids(jobs.take_due("c", 100.0, 10)) == ["j2", "j1"]


def test_the_newest_buckets_are_remembered() -> None:
    jobs = ReceivedJobs()
    for buckets in [(A,), (), (B,), (C, A), (D,)]:
        jobs.add("c", callback_of("j1", buckets=buckets), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    assert job.buckets == (D, C, A)


def test_a_look_may_have_to_wait() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    jobs.return_for_later(job, 0.0, not_before=5.0)
    assert jobs.take_due("c", 4.9, 10) == []
    assert jobs.take_due("c", 5.0, 10) == [job]


def test_callbacks_cannot_use_the_looks_up_before_one_has_a_chance() -> None:
    jobs = ReceivedJobs()
    jobs.add("c", callback_of("j1"), 0.0)
    (job,) = jobs.take_due("c", 0.0, 10)
    jobs.add("c", callback_of("j1"), 0.5)
    jobs.return_for_later(job, 0.5, not_before=5.0)
    for tenths in range(10, 50):
        jobs.add("c", callback_of("j1"), tenths / 10)
        assert jobs.take_due("c", tenths / 10, 10) == []
    assert jobs.take_due("c", 5.0, 10) == [job]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.booleans()), max_size=60))
def test_it_never_holds_more_than_its_limit(steps: list[tuple[str, int, bool]]) -> None:
    jobs, now = ReceivedJobs(max_jobs=5), 0.0
    for conn_id, number, looks in steps:
        now += 1
        jobs.add(conn_id, callback_of(f"j{number}"), now)
        if looks:
            for job in jobs.take_due(conn_id, now, 3):
                jobs.return_for_later(job, now)
        assert len(jobs) <= 5
