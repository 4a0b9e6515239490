from __future__ import annotations

from types import SimpleNamespace

from tencent_ci_emulator.jobs.queue_scheduler import QueueLimits, QueueScheduler


def job(number, queue="q", level=0, state="Submitted"):
    return SimpleNamespace(number=number, queue_id=queue, level=level, state=state)


def taken(scheduler):
    found = []
    while (one := scheduler.take()) is not None:
        found.append(one.number)
    return found


def test_higher_level_first_then_the_older_across_queues():
    scheduler = QueueScheduler()
    for one in (job(1), job(2, level=2), job(3, "other", level=2), job(4, level=1), job(5, "other")):
        scheduler.add(one)
    assert len(scheduler) == 5
    assert taken(scheduler) == [2, 3, 4, 1, 5]


def test_each_queue_has_its_own_limit():
    scheduler = QueueScheduler(lambda _queue: QueueLimits(max_concurrent=1))
    first, *rest = job(1), job(2), job(3, "other")
    for one in (first, *rest):
        scheduler.add(one)
    assert taken(scheduler) == [1, 3]
    scheduler.release(first)
    assert taken(scheduler) == [2]


def test_a_paused_queue_begins_nothing_but_what_had_begun():
    paused = {"q"}
    scheduler = QueueScheduler(lambda queue: QueueLimits(is_active=queue not in paused))
    for one in (job(1, level=2), job(2, state="Running"), job(3, "other")):
        scheduler.add(one)
    assert taken(scheduler) == [2, 3]
    paused.clear()
    assert taken(scheduler) == [1]
