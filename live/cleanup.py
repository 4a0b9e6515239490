"""Removes what a journal lists, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    InvalidRequestError,
    ServerError,
    ServiceError,
    TencentCIError,
    ThrottledError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import PENDING_STATES, Job
from airflow_provider_ci.protocol.tree import find_text
from live.clock import Clock
from live.facts import describe
from live.job_requests import BATCH_TAG
from live.journal import Created, Journal
from live.plan import PAID_JOBS
from live.requests import AbortUpload, CloseService, DeleteBucket, DeleteObject, ListUploads

_POLL_SECONDS = 2.0
_ATTEMPTS = 5  # to empty a bucket
# What was just created may be missing for so long: a job in lists for 10 s, as the provider assumes.
# A POST of a killed run may have been under way
_SHOWN_AFTER = 15.0
# A job that cannot be looked up has ended after so long: its media last seconds, and its input is deleted
_LONGEST_JOB = 3600.0
_CLOCKS_DIFFER = 300.0
_NO_BUCKET = "NoSuchBucket"
# After these errors, a later attempt may succeed
_BRIEF = (AuthenticationError, ServerError, ThrottledError)
_BATCHES = ("batch submission", "batch")
_JOBS = ("submission", "job", *_BATCHES)


class _NotShownError(TencentCIError):
    """A response does not have the job, which does not prove that there is none."""


def _most(entry: Created) -> str | None:
    """Return what a submission may cost at most, if it was accepted."""
    name = f"{BATCH_TAG} batch" if entry.kind in _BATCHES else entry.name
    job = next((job for job in PAID_JOBS if name == f"{job.tag} {job.name}"), None)
    return f"{job.units} {job.unit}{'s' if job.units > 1 else ''} of {job.tag}" if job else None


@dataclass(kw_only=True)
class Cleanup:
    """The removal of all that a journal lists.

    :param say: prints a line on the terminal.
    :param patience: seconds to wait for jobs that are running, whose results have to be removed too.
    :param cannot_remove: what could not be removed, each with the reason. These lines have names in them, and
        belong on the terminal only.
    """

    hook: TencentCIHook
    journal: Journal
    clock: Clock
    say: Callable[[str], None]
    patience: float
    cannot_remove: dict[Created, str] = field(default_factory=dict)
    _cannot_be_looked_up: set[Created] = field(default_factory=set, init=False)
    _has_no_bucket: bool = field(default=False, init=False)

    def run(self) -> bool:
        """Remove everything; return whether nothing is left."""
        self._end_jobs()
        for created in self.journal.existing("template"):
            self._remove(created, self._delete_template)
        for created in self.journal.existing("prefix"):
            self._remove(created, self._delete_prefix)
        for created in self.journal.existing("service"):
            self._remove(created, self._close_service)
        for created in self.journal.existing("bucket"):
            self._remove(created, self._delete_bucket)
        place = self.journal.place
        if self._has_no_bucket or (place.has_own_bucket and not self.journal.existing("bucket")):
            for created in self.journal.existing("template", "service"):
                reason = self.cannot_remove.get(created)
                self.say(f"  {created.kind} {created.name} was removed with its bucket only: {reason}")
                self.journal.remove(created)
        return not self.journal.existing()

    def left(self) -> list[str]:
        """Return a line for each thing that is left."""
        place = self.journal.place
        return [
            f"{created.kind} {created.name} (bucket {place.bucket}, {place.region}):"
            f" {self.cannot_remove.get(created, 'not removed yet')}"
            for created in self.journal.existing()
        ]

    def _remove(self, created: Created, remove: Callable[[Created], None]) -> None:
        try:
            remove(created)
        except TencentCIError as error:
            self.cannot_remove[created] = str(error)
        except Exception as error:  # the rest has to be removed all the same
            self.cannot_remove[created] = f"an error in the kit: {error!r}"
        else:
            self.journal.remove(created)

    def _end_jobs(self) -> None:
        """Cancel batch jobs, and the jobs that have not begun, and wait for those that are running.

        A batch job makes jobs until it has ended: they are looked for until lists must have them.
        """
        begin = self.clock.now()
        shown_at = begin + _SHOWN_AFTER
        has_said = False
        while True:
            pending = self._find_pending()
            for job in pending:
                if job.may_be_cancelled and job.job_id:
                    self._cancel(job, job.job_id)
            now = self.clock.now()
            is_late = now - begin > self.patience
            if any(isinstance(job, BatchJob) for job in pending) and not is_late:
                shown_at = now + _SHOWN_AFTER
            is_complete = now >= shown_at or not (
                self.journal.existing("submission", *_BATCHES) or self._cannot_be_looked_up
            )
            if is_complete and (not pending or is_late):
                break
            if not has_said:
                self.say(
                    f"  waiting at most {self.patience:g} s for jobs to end: {len(pending)}"
                    if pending
                    else f"  waiting {_SHOWN_AFTER:g} s for jobs that the list may not have yet"
                )
                has_said = True
            self.clock.sleep(_POLL_SECONDS)
        for entry in self.journal.existing(*_JOBS):
            if entry in self._cannot_be_looked_up:
                self._forget_if_old(entry)
            elif entry not in self.cannot_remove:
                self.journal.remove(entry)

    def _forget_if_old(self, entry: Created) -> None:
        """Remove a job that cannot be looked up from the journal, once it has certainly ended."""
        ended_at = self.journal.added_at(entry) + _LONGEST_JOB
        reason = self.cannot_remove[entry]
        what = "it has made a job" if entry.kind.endswith("submission") else "it has ended"
        cost = _most(entry)
        if self.clock.unix_time() < ended_at:
            self.cannot_remove[entry] = (
                f"whether {what} cannot be looked up ({reason}). Such a job ends by itself"
                f"{f', and costs at most {cost}' if cost else ''}. It cannot run any more after"
                f" {datetime.fromtimestamp(ended_at, UTC):%Y-%m-%d %H:%M} UTC: run the command again then"
            )
        else:
            self.say(
                f"  {entry.kind} {entry.name}: whether {what} cannot be looked up ({reason}); by now, such a"
                f" job has ended{f' and has cost at most {cost}' if cost else ''}"
            )
            del self.cannot_remove[entry]
            self.journal.remove(entry)

    def _find_pending(self) -> list[Job | BatchJob]:
        """Return the batch jobs of the run that have not ended, then such jobs.

        Those of known ids are described, because lists may lack them.
        """
        existing = self.journal.existing
        tags: dict[str, list[Created]] = {}
        for entry in existing("submission"):
            tags.setdefault(entry.name.partition(" ")[0], []).append(entry)
        if batches := existing(*_BATCHES):
            tags.setdefault(BATCH_TAG, []).extend(batches)
        searches: list[tuple[Iterator[Job | BatchJob], list[Created]]] = [
            *((self._list_pending_batches(each.name), [each]) for each in existing("batch submission")),
            *((self._describe_pending_batch(each.name), [each]) for each in existing("batch")),
            *((self._list_pending_jobs(tag, entries), entries) for tag, entries in tags.items()),
            *((self._describe_pending_job(each.name), [each]) for each in existing("job")),
        ]
        pending: dict[str | None, Job | BatchJob] = {}
        self._cannot_be_looked_up.clear()
        for entry in existing(*_JOBS):
            self.cannot_remove.pop(entry, None)
        for search, entries in searches:
            try:
                found = [*search]
            except _NotShownError as error:
                self._cannot_be_looked_up |= {*entries}
                self.cannot_remove |= dict.fromkeys(entries, error.message)
            except TencentCIError as error:
                if isinstance(error, ServiceError) and not isinstance(error, _BRIEF):
                    self._cannot_be_looked_up |= {*entries}
                # the hint of the first is about fields, which the user has not set
                reason = describe(error) if isinstance(error, InvalidRequestError) else str(error)
                self.cannot_remove |= dict.fromkeys(entries, reason)
            else:
                pending |= {job.job_id: job for job in found}
                if found:
                    reason = f"jobs of the run have not ended yet: {len(found)}"
                    self.cannot_remove |= dict.fromkeys(entries, reason)
        return [*pending.values()]

    def _list_pending_batches(self, name: str) -> Iterator[BatchJob]:
        place = self.journal.place
        for batch in self.hook.batches.list(name=name, bucket=place.bucket, region=place.region):
            if batch.name == name and not batch.job_state.is_terminal:
                yield batch

    def _describe_pending_batch(self, job_id: str) -> Iterator[BatchJob]:
        place = self.journal.place
        described = self.hook.batches.describe(job_id, bucket=place.bucket, region=place.region)
        if not described.jobs_detail:
            raise _NotShownError("the service returns no such batch job")
        for batch in described.jobs_detail:
            prefix = find_text(batch.input, "Prefix") or ""
            is_of_run = place.has_own_bucket or prefix.startswith(place.prefix)
            if is_of_run and not batch.job_state.is_terminal:
                yield batch

    def _describe_pending_job(self, job_id: str) -> Iterator[Job]:
        place = self.journal.place
        described = self.hook.describe_jobs([job_id], bucket=place.bucket, region=place.region)
        if not described.jobs_detail:
            raise _NotShownError("the service returns no such job")
        for job in described.jobs_detail:
            if self._is_of_run(job) and not job.job_state.is_terminal:
                yield job

    def _list_pending_jobs(self, tag: str, entries: list[Created]) -> Iterator[Job]:
        """Yield the jobs of the submissions of one type.

        :raises _NotShownError: no document says that jobs of this type are listed, and none is.
        """
        place = self.journal.place
        if job_type(tag).is_listed:
            states = [str(state) for state in PENDING_STATES]
            found = self.hook.list_jobs(tag=tag, states=states, bucket=place.bucket, region=place.region)
            yield from filter(self._is_of_run, found)
            return
        begun = min(map(self.journal.added_at, entries)) - _CLOCKS_DIFFER
        since = datetime.fromtimestamp(begun, UTC)
        listed = self.hook.list_jobs(
            tag=tag, start_creation_time=since, bucket=place.bucket, region=place.region
        )
        jobs = [job for job in listed if job.tag == tag and self._is_of_run(job)]
        if not jobs:
            raise _NotShownError(f"the list shows none, and may lack jobs of the type {tag}")
        yield from (job for job in jobs if not job.job_state.is_terminal)

    def _is_of_run(self, job: Job) -> bool:
        """Tell whether the run has submitted a job: in another's bucket, jobs have keys with its prefix."""
        place = self.journal.place
        keys = (job.input_object or "", find_text(job.operation, "Output.Object") or "")
        return place.has_own_bucket or any(key.startswith(place.prefix) for key in keys)

    def _cancel(self, job: Job | BatchJob, job_id: str) -> None:
        place = self.journal.place
        is_batch = isinstance(job, BatchJob)
        try:
            with self.hook.limit(attempts=1):
                if is_batch:
                    self.hook.batches.cancel(job_id, bucket=place.bucket, region=place.region)
                else:
                    self.hook.cancel_jobs([job_id], bucket=place.bucket, region=place.region)
        except TencentCIError:
            return  # it has begun meanwhile, or cannot be cancelled: its end is waited for
        self.say("  cancelled a batch job" if is_batch else "  cancelled a job that had not begun")

    def _delete_template(self, created: Created) -> None:
        place = self.journal.place
        templates = self.hook.templates
        found = templates.list(name=created.name, bucket=place.bucket, region=place.region)
        for template in [each for each in found if each.name == created.name]:
            if template.template_id:
                templates.delete(template.template_id, bucket=place.bucket, region=place.region)

    def _delete_prefix(self, created: Created) -> None:
        def delete() -> None:
            found = [*self._delete_objects(created.name), *self._abort_uploads(created.name)]
            if found:  # the next list shows whether they are gone
                raise TencentCIError(f"They were listed until they were deleted: {', '.join(found)}")

        self._repeat(delete)
        unended = self.journal.existing(*_JOBS)
        if unended and not self._has_no_bucket:
            reason = self.cannot_remove.get(unended[0], "jobs of the run may not have ended")
            raise TencentCIError(f"A job may still write a result there ({reason})")

    def _delete_bucket(self, created: Created) -> None:
        place = self.journal.place

        def delete() -> None:
            try:
                self._delete_objects("")
            except TencentCIError as error:
                if error.code != _NO_BUCKET:
                    raise  # otherwise what its deletion says counts
            try:
                self.hook.call(DeleteBucket(), bucket=created.name, region=place.region)
            except ServiceError as error:
                if error.status != 409:
                    raise
                try:
                    self._abort_uploads("")
                except TencentCIError as also:
                    raise TencentCIError(f"{error}. {also}") from also
                raise

        self._repeat(delete)

    def _repeat(self, delete: Callable[[], None]) -> None:
        """Repeat a deletion: a job may have written its result meanwhile.

        It is done without an error, or when all attempts for some time have found no bucket. A single
        response that says so may be an error, above all about a new bucket.
        """
        failures = 0
        missing_since: float | None = None
        while True:
            try:
                delete()
                return
            except TencentCIError as error:
                if error.code == _NO_BUCKET:
                    missing_since = self.clock.now() if missing_since is None else missing_since
                    if self.clock.now() - missing_since >= _SHOWN_AFTER:
                        self._has_no_bucket = True
                        return
                else:
                    missing_since = None
                    failures += 1
                    if failures == _ATTEMPTS:
                        raise
            self.clock.sleep(_POLL_SECONDS)

    def _delete_objects(self, prefix: str) -> list[str]:
        """Delete the objects whose keys begin with ``prefix``; return their keys.

        :raises TencentCIError: some could not be deleted; it names them.
        """
        place = self.journal.place
        listed = self.hook.list_objects(prefix, bucket=place.bucket, region=place.region)
        keys = [each.key for each in listed]
        refused: dict[str, TencentCIError] = {}
        for key in keys:
            try:
                self.hook.call(DeleteObject(key), bucket=place.bucket, region=place.region)
            except TencentCIError as error:
                refused[key] = error
        if refused:
            first = next(iter(refused.values()))
            raise TencentCIError(f"{first}. The objects: {', '.join(refused)}")
        return keys

    def _abort_uploads(self, prefix: str) -> list[str]:
        """Abort the unfinished uploads whose keys begin with ``prefix``; return their keys."""
        place = self.journal.place
        uploads = self.hook.call(ListUploads(prefix), bucket=place.bucket, region=place.region)
        for upload in uploads:
            self.hook.call(AbortUpload(upload), bucket=place.bucket, region=place.region)
        return [upload.key for upload in uploads]

    def _close_service(self, created: Created) -> None:
        place = self.journal.place
        self.hook.call(CloseService(created.name), bucket=place.bucket, region=place.region)
