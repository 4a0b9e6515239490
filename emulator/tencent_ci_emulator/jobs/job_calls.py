"""The calls about jobs: submit (460/84794), describe (460/84765), list (460/84766), cancel (460/82393).

Describing and cancelling take 1 to 10 ids, with commas that are plain or percent-encoded; unknown ones are
in ``NonExistJobIds``. A list has all documented filters, a ``size`` of 1 to 100, and a ``NextToken`` that
is empty on the last page. A job that has not begun, ``Submitted`` or ``Pause``, can be cancelled.

Not documented, and so decided here. Cancelling a job that has begun, has ended or is unknown is 400
``InvalidArgument``, ``The job provided can not be modified``, and none of the ids is cancelled; a lenient
emulator responds with 200, and again none is. A ``NextToken`` names a position in the list, so that nothing
is skipped or repeated when new jobs come.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, cannot_be_modified
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob, listed_state
from tencent_ci_emulator.jobs.job_types import job_type
from tencent_ci_emulator.jobs.queues import QUEUE_TYPES
from tencent_ci_emulator.jobs.states import RUNNING, STATES, WAITING
from tencent_ci_emulator.jobs.submission import Submission
from tencent_ci_emulator.observed import CANCELLED, REFUSED, CancelOutcome, Refusal


@dataclass(frozen=True, slots=True)
class JobCalls:
    """Handles the calls about jobs.

    :param on_cancel: called after jobs were cancelled.
    """

    config: EmulatorConfig
    database: Database
    clock: Clock
    jobs: JobStore
    submission: Submission
    on_cancel: Callable[[], None]

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        return {
            "submit": self._submit,
            "describe": self._describe,
            "list": self._list,
            "cancel": self._cancel,
        }

    def _submit(self, call: Call) -> Content:
        order = self.submission.make_order(call.bucket, call.document())
        return {"JobsDetail": self._details(self.submission.accept(order))}

    def _describe(self, call: Call) -> Content:
        ids = call.ids()
        found = self.database.find(StoredJob, "jobs", call.bucket, ids)
        unknown_job = self.config.observed.unknown_job
        if not found and isinstance(unknown_job, Refusal):
            message = f"there is no such job: {', '.join(ids)}"
            raise ServiceError(unknown_job.status, unknown_job.code, message)
        missing = [job_id for job_id in ids if job_id not in found and unknown_job != "empty"]
        return {"JobsDetail": self._details([*found.values()]), "NonExistJobIds": missing}

    def _list(self, call: Call) -> Content:
        tag, params, now, observed = (
            call.params.get("tag"),
            call.params,
            self.clock.now(),
            self.config.observed,
        )
        if tag is None:
            raise invalid_argument("tag is missing")
        if not self._can_be_listed(call.bucket, tag):
            raise invalid_argument(f"tag {tag!r} is unknown")
        delay = max(call.list_consistency_delay, observed.list_lag_seconds)
        seen = now - observed.ended_lag_seconds
        queue_id, queue_type = params.get("queueid"), call.choice("queueType", "", ("", *QUEUE_TYPES))
        where = {
            "bucket": call.bucket,
            "tag": tag,
            "queue_id": queue_id,
            "queue_type": None if queue_id else queue_type or None,
            "input_object": params.get("inputobject"),
            "batch_id": params.get("inventorytriggerjobid"),
            "created <=": now - delay if delay else None,
        }
        state = listed_state(seen) if observed.ended_lag_seconds else "state"
        query = call.page_query(observed, state, **where)
        if params.get("workflowid"):
            return {"NextToken": ""}  # no job here is made by a workflow
        jobs, token = self.database.page(StoredJob, "jobs", query)
        listed = [job.as_listed(seen) for job in jobs]
        return {"JobsDetail": self._details(listed, in_list=True), "NextToken": token or ""}

    def _can_be_listed(self, bucket: str, tag: str) -> bool:
        observed = self.config.observed.listed_tags.get(tag)
        if observed is not None:
            return observed
        return job_type(tag).is_listed or self.jobs.has_tag(bucket, tag)

    def _cancel(self, call: Call) -> Content:
        ids, now = call.ids(), self.clock.now()
        with self.database.transaction():
            found = self.database.find(StoredJob, "jobs", call.bucket, ids)
            outcomes = {each: self._outcome_of_cancelling(found.get(each)) for each in ids}
            if all(outcome.is_effective for outcome in outcomes.values()):  # all of them, or none
                self.jobs.cancel(call.bucket, [*found], now, STATES)
        self.on_cancel()
        refused = [each for each, outcome in outcomes.items() if outcome.status != 200]
        if refused:
            raise cannot_be_modified(refused, outcomes[refused[0]])
        return None

    def _outcome_of_cancelling(self, job: StoredJob | None) -> CancelOutcome:
        observed = self.config.observed
        if job is not None and job.state in WAITING:
            return CANCELLED if observed.cancel_submitted == "cancelled" else REFUSED
        is_running = job is not None and job.state == RUNNING
        return observed.cancel_running if is_running else observed.cancel_ended

    def _details(self, jobs: list[StoredJob], *, in_list: bool = False) -> list[object]:
        observed = self.config.observed
        return [job.describe(observed, progress=self._progress(job), in_list=in_list) for job in jobs]

    def _progress(self, job: StoredJob) -> int:
        """Return the progress of its work, or of the time that it stays ``Running`` if that is less."""
        if job.state != RUNNING or not self.config.run_seconds or job.started is None:
            return job.progress
        share = (self.clock.now() - job.started) / self.config.run_seconds
        return min(job.progress, int(99 * max(0.0, share)))
