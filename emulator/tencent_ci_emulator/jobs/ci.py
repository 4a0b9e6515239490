"""The CI service: finds the handler of a call; jobs: submit (460/84794), describe (460/84765), list
(460/84766), cancel (460/82393).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import (
    MAX_IDS,
    MAX_PAGE,
    Answer,
    Call,
    Handler,
    answer,
    ascending,
    bad_token,
    cannot_be_modified,
    comma_list,
    ids,
    moment,
    number,
    states,
)
from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.service_request import Incoming
from tencent_ci_emulator.jobs.batch import BatchCalls, BatchStore
from tencent_ci_emulator.jobs.batch_runner import BatchRunner
from tencent_ci_emulator.jobs.buckets import BucketCalls, BucketStore
from tencent_ci_emulator.jobs.engine import JobEngine
from tencent_ci_emulator.jobs.job_store import RUNNING, BadTokenError, JobFilter, JobStore, StoredJob
from tencent_ci_emulator.jobs.job_types import LISTED
from tencent_ci_emulator.jobs.queues import QueueCalls, QueueStore
from tencent_ci_emulator.jobs.submission import Submission
from tencent_ci_emulator.jobs.templates import TemplateCalls, TemplateStore
from tencent_ci_emulator.objects.names import is_xml_text
from tencent_ci_emulator.objects.object_store import ObjectStore

__all__ = ["MAX_IDS", "MAX_PAGE", "Answer", "CIService"]

_BUCKET_LISTS = ("/mediabucket", "/asrbucket")


class CIService:
    """Answers CI calls. Between :meth:`start` and :meth:`stop` it also carries out batch jobs."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        jobs: JobStore,
        queues: QueueStore,
        objects: ObjectStore,
        engine: JobEngine,
        clock: Clock,
    ) -> None:
        self._config = config
        self._jobs = jobs
        self._clock = clock
        opened, templates, batches = BucketStore(database), TemplateStore(database), BatchStore(database)
        self._queues, self._templates, self._batches = queues, templates, batches
        opened.begin(config.buckets, None if config.unbound else clock.now())
        for bucket in config.buckets:
            queues.begin(bucket, clock.now())
        bucket_calls = BucketCalls(config, opened, clock)
        queue_calls = QueueCalls(config, database, queues, opened, bucket_calls, jobs, engine, clock)
        self._submission = Submission(config, database, jobs, templates, queue_calls, engine, clock)
        self._runner = BatchRunner(batches, jobs, objects, self._submission, clock)
        engine.when_ended(lambda _job: self._runner.wake())
        batch_calls = BatchCalls(
            config, database, batches, jobs, self._submission, queue_calls, self._runner, clock
        )
        self._routes: dict[str, Handler] = {
            "POST /jobs": self._submit,
            "GET /jobs": self._list,
            "GET /jobs/": self._describe,
            "PUT /jobs/?cancel": self._cancel,
            **TemplateCalls(config, templates, clock).routes(),
            **{route: self._and_wake(handler) for route, handler in queue_calls.routes().items()},
            **bucket_calls.routes(),
            **batch_calls.routes(),
        }

    def start(self) -> None:
        """Take up the batch jobs that an earlier run left, and begin."""
        self._runner.start()

    def stop(self) -> None:
        """Stop the batch jobs; the next start takes them up."""
        self._runner.stop()

    def knows(self, request: Incoming) -> bool:
        """Tell whether a path names ids of the bucket's jobs, batch jobs, templates or queues."""
        kind, _, text = request.path.removeprefix("/").partition("/")
        bucket, asked = request.bucket or "", comma_list(text)
        if kind == "jobs":
            return bool(self._jobs.find(bucket, asked))
        if kind == "inventorytriggerjob":
            return bool(self._batches.find(bucket, asked))
        if kind == "template":
            return any(self._templates.get(bucket, one) is not None for one in asked)
        queues = (self._queues.get(one) for one in asked)
        return any(queue is not None and queue.bucket == bucket for queue in queues)

    def handle(self, request: Incoming, body: bytes, request_id: str = "") -> Answer:
        """Answer an authenticated request.

        :raises ServiceFault: it cannot be served.
        """
        if not all(is_xml_text(text) for text in (request.path, *request.given_params.values())):
            raise invalid_argument("the path or a parameter has characters that XML cannot carry")
        handler = self._routes.get(_route(request))
        if handler is None:
            raise ServiceFault(
                404, "InvalidUrl", f"{request.method} {request.path} is not a call of this service"
            )
        return handler(Call(self._bucket(request), request, body, request_id, request.given_params))

    def _bucket(self, request: Incoming) -> str:
        regional = request.method == "GET" and request.path in _BUCKET_LISTS
        if request.service_only and not regional:
            raise ServiceFault(404, "InvalidUrl", "this address of the regional host is not served")
        bucket = request.bucket or self._config.default_bucket
        if bucket not in self._config.buckets:
            raise ServiceFault(400, "InvalidHost", f"bucket {bucket} does not exist here")
        if request.region not in (None, self._config.region):
            raise ServiceFault(400, "InvalidHost", f"bucket {bucket} is in region {self._config.region}")
        return bucket

    def _submit(self, call: Call) -> Answer:
        return self._answer(self._submission.accept(self._submission.of_call(call)))

    def _describe(self, call: Call) -> Answer:
        asked = ids(call.id)
        found = self._jobs.find(call.bucket, asked)
        return self._answer(list(found.values()), missing=[one for one in asked if one not in found])

    def _list(self, call: Call) -> Answer:
        wanted = self._filter(call.bucket, call.params)
        if call.request.effects.list_lag:
            wanted = replace(wanted, created_before=self._clock.now() - call.request.effects.list_lag)
        if call.params.get("workflowid"):
            return self._answer([], token="")  # no job here comes from a workflow
        try:
            jobs, token = self._jobs.page(call.bucket, wanted)
        except BadTokenError:
            raise bad_token() from None
        return self._answer(jobs, token=token or "")

    def _cancel(self, call: Call) -> Answer:
        refused = self._jobs.cancel(call.bucket, ids(call.id), self._clock.now())
        if refused and not self._config.lenient_cancel:
            raise cannot_be_modified(refused)
        self._runner.wake()
        return Answer()

    def _and_wake(self, handler: Handler) -> Handler:
        """A batch job may wait for the queue that is changed."""

        def handle(call: Call) -> Answer:
            answered = handler(call)
            self._runner.wake()
            return answered

        return handle

    def _answer(
        self, jobs: list[StoredJob], *, missing: list[str] | None = None, token: str | None = None
    ) -> Answer:
        return answer(
            {
                "JobsDetail": [job.describe(self._progress(job)) for job in jobs],
                "NonExistJobIds": missing,
                "NextToken": token,
            }
        )

    def _filter(self, bucket: str, params: Mapping[str, str]) -> JobFilter:
        tag = params.get("tag")
        if tag is None:
            raise invalid_argument("tag is missing")
        if tag not in LISTED and not self._jobs.has_tag(bucket, tag):
            raise invalid_argument(f"tag {tag!r} is unknown")
        return JobFilter(
            tag=tag,
            queue_id=params.get("queueid"),
            input_object=params.get("inputobject"),
            batch_id=params.get("inventorytriggerjobid"),
            states=states(params),
            created_from=moment("startCreationTime", params.get("startcreationtime")),
            created_to=moment("endCreationTime", params.get("endcreationtime")),
            ascending=ascending(params),
            size=number(params, "size"),
            token=params.get("nexttoken"),
        )

    def _progress(self, job: StoredJob) -> int:
        """A job that is kept ``Running`` for a time gets on as that time goes by."""
        if job.state != RUNNING or not self._config.run_seconds or job.started is None:
            return job.progress
        share = (self._clock.now() - job.started) / self._config.run_seconds
        return min(job.progress, int(99 * max(0.0, share)))


def _route(request: Incoming) -> str:
    """Return method and path, with ids left out: ``PUT /jobs/?cancel``."""
    head, slash, _ = request.path.removeprefix("/").partition("/")
    flag = "?cancel" if request.method == "PUT" and request.has_flag("cancel") else ""
    return f"{request.method} /{head}{slash}{flag}"
