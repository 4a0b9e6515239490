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
# The list may lack a job for 10 s, as the provider assumes. A POST of a killed run may have been under way
_LISTED_AFTER = 15.0


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
            for created in self.journal.existing():  # all of it was of the bucket, or wrote there
                if created.kind in ("template", "service"):
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
        """Cancel the jobs that have not begun, and wait for those that are running."""
        begin = self.clock.now()
        listed_at = begin + _LISTED_AFTER if self.journal.existing("submission") else begin
        has_said = False
        while (pending := self._find_pending_jobs()) or self.clock.now() < listed_at:
            for job in pending:
                if job.may_be_cancelled and job.job_id:
                    self._cancel(job.job_id)
            if self.clock.now() > begin + self.patience:
                for entry in self.journal.existing("submission", "job"):
                    self.cannot_remove[entry] = f"jobs of the run have not ended yet: {len(pending)}"
                return
            if not has_said:
                self.say(
                    f"  waiting at most {self.patience:g} s for jobs to end: {len(pending)}"
                    if pending
                    else f"  waiting {_LISTED_AFTER:g} s for jobs that the list may not have yet"
                )
                has_said = True
            self.clock.sleep(_POLL_SECONDS)
        for entry in self.journal.existing("submission", "job"):
            if entry not in self.cannot_remove:
                self.journal.remove(entry)

    def _find_pending_jobs(self) -> list[Job]:
        """Return the jobs of the run that have not ended: those of known ids, which lists may lack, too."""
        pending: dict[str | None, Job] = {}
        tags: dict[str, list[Created]] = {}
        for entry in self.journal.existing("submission"):
            tags.setdefault(entry.name.partition(" ")[0], []).append(entry)
        searches = [(self._list_pending_jobs(tag), entries) for tag, entries in tags.items()]
        searches += [(self._describe_pending_job(e.name), [e]) for e in self.journal.existing("job")]
        for search, entries in searches:
            try:
                pending |= {job.job_id: job for job in search}
            except TencentCIError as error:
                self.cannot_remove |= dict.fromkeys(entries, str(error))
            else:
                for entry in entries:
                    self.cannot_remove.pop(entry, None)
        return [*pending.values()]

    def _describe_pending_job(self, job_id: str) -> Iterator[Job]:
        place = self.journal.place
        described = self.hook.describe_jobs([job_id], bucket=place.bucket, region=place.region)
        for job in described.jobs_detail:
            if self._is_of_run(job) and not job.job_state.is_terminal:
                yield job

    def _list_pending_jobs(self, tag: str) -> Iterator[Job]:
        place = self.journal.place
        states = [str(state) for state in PENDING_STATES]
        for job in self.hook.list_jobs(tag=tag, states=states, bucket=place.bucket, region=place.region):
            if self._is_of_run(job):
                yield job

    def _is_of_run(self, job: Job) -> bool:
        """Tell whether the run has submitted a job: in another's bucket, jobs have keys with its prefix."""
        place = self.journal.place
        keys = (job.input_object or "", find_text(job.operation, "Output.Object") or "")
        return place.has_own_bucket or any(key.startswith(place.prefix) for key in keys)

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
        self._delete_objects(created.name)
        if unended := self.journal.existing("submission", "job"):
            reason = self.cannot_remove.get(unended[0], "jobs of the run may not have ended")
            raise TencentCIError(f"A job may still write a result there ({reason})")

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
