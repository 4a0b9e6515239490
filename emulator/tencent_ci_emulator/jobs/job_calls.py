"""The calls about jobs: submit (460/84794), describe (460/84765), list (460/84766), cancel (460/82393)."""

from __future__ import annotations

from collections.abc import Callable

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, cannot_be_modified
from tencent_ci_emulator.http.service_errors import invalid_argument
from tencent_ci_emulator.jobs.job_store import JobStore, StoredJob
from tencent_ci_emulator.jobs.job_types import LISTED
from tencent_ci_emulator.jobs.states import RUNNING
from tencent_ci_emulator.jobs.submission import Submission


class JobCalls:
    """Answers the calls about jobs.

    :param when_cancelled: called after jobs were cancelled.
    """

    def __init__(
        self,
        config: EmulatorConfig,
        clock: Clock,
        jobs: JobStore,
        submission: Submission,
        when_cancelled: Callable[[], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._jobs = jobs
        self._submission = submission
        self._when_cancelled = when_cancelled

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        return {
            "submit": self._submit,
            "describe": self._describe,
            "list": self._list,
            "cancel": self._cancel,
        }

    def _submit(self, call: Call) -> Content:
        return {"JobsDetail": self._details(self._submission.accept(self._submission.read(call)))}

    def _describe(self, call: Call) -> Content:
        ids = call.ids()
        found = self._jobs.find(call.bucket, ids)
        missing = [one for one in ids if one not in found]
        return {"JobsDetail": self._details([*found.values()]), "NonExistJobIds": missing}

    def _list(self, call: Call) -> Content:
        tag, params = call.params.get("tag"), call.params
        if tag is None:
            raise invalid_argument("tag is missing")
        if tag not in LISTED and not self._jobs.has_tag(call.bucket, tag):
            raise invalid_argument(f"tag {tag!r} is unknown")
        conditions = {
            "tag": tag,
            "queue_id": params.get("queueid"),
            "input_object": params.get("inputobject"),
            "batch_id": params.get("inventorytriggerjobid"),
            # A list that lags behind; a part of a second counts
            "created <=": self._clock.now() - call.list_consistency_delay
            if call.list_consistency_delay
            else None,
        }
        query = call.list_query(**conditions)
        if params.get("workflowid"):
            return {"NextToken": ""}  # no job here comes from a workflow
        jobs, token = self._jobs.page(call.bucket, query)
        return {"JobsDetail": self._details(jobs), "NextToken": token or ""}

    def _cancel(self, call: Call) -> Content:
        refused = self._jobs.cancel(call.bucket, call.ids(), self._clock.now())
        if refused and not self._config.lenient_cancel:
            raise cannot_be_modified(refused)
        self._when_cancelled()
        return None

    def _details(self, jobs: list[StoredJob]) -> list[object]:
        return [job.describe(self._progress(job)) for job in jobs]

    def _progress(self, job: StoredJob) -> int:
        """Return the progress of a job that is kept ``Running``: it goes on as that time goes by."""
        if job.state != RUNNING or not self._config.run_seconds or job.started is None:
            return job.progress
        share = (self._clock.now() - job.started) / self._config.run_seconds
        return min(job.progress, int(99 * max(0.0, share)))
