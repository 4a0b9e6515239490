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
from tencent_ci_emulator.http.errors import invalid_argument
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.job_types import job_type
from tencent_ci_emulator.jobs.queues import QUEUE_TYPES
from tencent_ci_emulator.jobs.states import RUNNING
from tencent_ci_emulator.jobs.submission import Submission


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
        missing = [job_id for job_id in ids if job_id not in found]
        return {"JobsDetail": self._details([*found.values()]), "NonExistJobIds": missing}

    def _list(self, call: Call) -> Content:
        tag, params, delay = call.params.get("tag"), call.params, call.list_consistency_delay
        if tag is None:
            raise invalid_argument("tag is missing")
        if not job_type(tag).is_listed and not self.jobs.has_tag(call.bucket, tag):
            raise invalid_argument(f"tag {tag!r} is unknown")
        queue_id, queue_type = params.get("queueid"), call.choice("queueType", "", ("", *QUEUE_TYPES))
        where = {
            "bucket": call.bucket,
            "tag": tag,
            "queue_id": queue_id,
            "queue_type": None if queue_id else queue_type or None,
            "input_object": params.get("inputobject"),
            "batch_id": params.get("inventorytriggerjobid"),
            "created <=": self.clock.now() - delay if delay else None,
        }
        query = call.page_query(**where)
        if params.get("workflowid"):
            return {"NextToken": ""}  # no job here is made by a workflow
        jobs, token = self.database.page(StoredJob, "jobs", query)
        return {"JobsDetail": self._details(jobs), "NextToken": token or ""}

    def _cancel(self, call: Call) -> Content:
        refused = self.jobs.cancel(call.bucket, call.ids(), self.clock.now())
        if refused and not self.config.lenient_cancel:
            raise cannot_be_modified(refused)
        self.on_cancel()
        return None

    def _details(self, jobs: list[StoredJob]) -> list[object]:
        return [job.describe(self._progress(job)) for job in jobs]

    def _progress(self, job: StoredJob) -> int:
        """Return the progress of its work, or of the time that it stays ``Running`` if that is less."""
        if job.state != RUNNING or not self.config.run_seconds or job.started is None:
            return job.progress
        share = (self.clock.now() - job.started) / self.config.run_seconds
        return min(job.progress, int(99 * max(0.0, share)))
