"""Removes what a journal lists, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from airflow_provider_ci.exceptions import TencentCIError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.jobs import PENDING_STATES, Job
from airflow_provider_ci.protocol.tree import find_text
from live.clock import Clock
from live.journal import Created, Journal
from live.requests import CloseService, DeleteBucket, DeleteObject

_POLL_SECONDS = 2.0
_ATTEMPTS = 5  # to empty a bucket


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
        if self.journal.place.has_own_bucket and not self.journal.existing("bucket"):
            for created in self.journal.existing("jobs", "job"):  # they can write nothing any more
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
        else:
            self.journal.remove(created)

    def _end_jobs(self) -> None:
        """Cancel the jobs that have not begun, and wait for those that are running."""
        deadline = self.clock.now() + self.patience
        has_said = False
        while pending := self._find_pending_jobs():
            for job in pending:
                if job.may_be_cancelled and job.job_id:
                    self._cancel(job.job_id)
            if self.clock.now() > deadline:
                for entry in self.journal.existing("jobs", "job"):
                    self.cannot_remove[entry] = f"{len(pending)} jobs of the run have not ended yet"
                return
            if not has_said:
                self.say(f"  waiting for {len(pending)} jobs to end, at most {self.patience:g} s")
                has_said = True
            self.clock.sleep(_POLL_SECONDS)
        for entry in self.journal.existing("jobs", "job"):
            if entry not in self.cannot_remove:
                self.journal.remove(entry)

    def _find_pending_jobs(self) -> list[Job]:
        """Return the jobs of the run that have not ended: those of known ids, which lists may lack, too."""
        pending: dict[str | None, Job] = {}
        for entry in self.journal.existing("jobs", "job"):
            find = self._list_pending_jobs if entry.kind == "jobs" else self._describe_pending_job
            try:
                pending |= {job.job_id: job for job in find(entry.name)}
            except TencentCIError as error:
                self.cannot_remove[entry] = str(error)
        return [*pending.values()]

    def _describe_pending_job(self, job_id: str) -> Iterator[Job]:
        place = self.journal.place
        described = self.hook.describe_jobs([job_id], bucket=place.bucket, region=place.region)
        yield from (job for job in described.jobs_detail if not job.job_state.is_terminal)

    def _list_pending_jobs(self, tag: str) -> Iterator[Job]:
        """Yield the jobs of a tag that have not ended, and that the kit has submitted."""
        place = self.journal.place
        states = [str(state) for state in PENDING_STATES]
        for job in self.hook.list_jobs(tag=tag, states=states, bucket=place.bucket, region=place.region):
            keys = (job.input_object or "", find_text(job.operation, "Output.Object") or "")
            if place.has_own_bucket or any(key.startswith(place.prefix) for key in keys):
                yield job

    def _cancel(self, job_id: str) -> None:
        place = self.journal.place
        try:
            with self.hook.limit(attempts=1):
                self.hook.cancel_jobs([job_id], bucket=place.bucket, region=place.region)
        except TencentCIError:
            return  # it has begun meanwhile, or cannot be cancelled: its end is waited for
        self.say("  cancelled a job that had not begun")

    def _delete_template(self, created: Created) -> None:
        place = self.journal.place
        templates = self.hook.templates
        found = templates.list(name=created.name, bucket=place.bucket, region=place.region)
        for template in [each for each in found if each.name == created.name]:
            if template.template_id:
                templates.delete(template.template_id, bucket=place.bucket, region=place.region)

    def _delete_prefix(self, created: Created) -> None:
        if not created.name:
            raise ValueError("a journal has an empty prefix, which would be that of every object")
        self._delete_objects(created.name)

    def _delete_objects(self, prefix: str) -> None:
        """Delete the objects whose keys begin with ``prefix``.

        :raises TencentCIError: some could not be deleted; it names them.
        """
        place = self.journal.place
        listed = self.hook.list_objects(prefix, bucket=place.bucket, region=place.region)
        refused: dict[str, TencentCIError] = {}
        for key in [each.key for each in listed]:
            try:
                self.hook.call(DeleteObject(key), bucket=place.bucket, region=place.region)
            except TencentCIError as error:
                refused[key] = error
        if refused:
            first = next(iter(refused.values()))
            raise TencentCIError(f"{first}. The objects: {', '.join(refused)}", status=first.status)

    def _close_service(self, created: Created) -> None:
        place = self.journal.place
        self.hook.call(CloseService(created.name), bucket=place.bucket, region=place.region)

    def _delete_bucket(self, created: Created) -> None:
        place = self.journal.place
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._delete_objects("")
                self.hook.call(DeleteBucket(), bucket=created.name, region=place.region)
                return
            except TencentCIError as error:
                if error.status == 404:  # there was no bucket to list
                    return
                if attempt == _ATTEMPTS:
                    raise
            # a job may have written its result meanwhile
            self.clock.sleep(_POLL_SECONDS)
