"""One run of the kit: make a place to work, observe, write the report, remove everything."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow_provider_ci.exceptions import PermissionDeniedError, TencentCIError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.job_types.job_type import ASR, MEDIA
from airflow_provider_ci.protocol.objects import ListObjects
from airflow_provider_ci.protocol.wire import Credentials
from live import job_requests, media
from live.airflow_run import AirflowRun
from live.cleanup import Cleanup
from live.clock import Clock
from live.facts import AirflowJob, Facts, NotObservedError, describe, outcome
from live.interruption import ignore_signals
from live.journal import Journal
from live.observations import Stage
from live.options import Options
from live.plan import Plan
from live.report import Report, SecretInReportError
from live.requests import (
    AbortUpload,
    CreateBucket,
    DeleteBucket,
    DeleteObject,
    ListUploads,
    Upload,
    presigned_url,
)
from live.watched_jobs import JobWatch

# A new bucket may not be known to CI at once
_OPEN_ATTEMPTS = 6
_OPEN_PAUSE = 5.0
_OWN_ALREADY = "BucketAlreadyOwnedByYou"  # the response to the first attempt was lost


class CannotRunError(Exception):
    """The run cannot begin. The text says why, and what to do."""


@dataclass(kw_only=True)
class Run:
    """One run.

    :param home: a temporary folder, ``AIRFLOW_HOME`` of the DAG.
    :param say: prints a line on the terminal.
    """

    options: Options
    plan: Plan
    hook: TencentCIHook
    journal: Journal
    token: str
    home: Path
    clock: Clock
    say: Callable[[str], None]
    _credentials: set[Credentials] = field(default_factory=set, init=False, repr=False)

    def execute(self) -> int:
        """Run; return the exit status."""
        report = Report(date=f"{datetime.now(UTC):%Y-%m-%d}", region=self.journal.place.region)
        is_interrupted = is_written = False
        try:
            try:
                self._observe(report)
            except KeyboardInterrupt:
                self.say("\nInterrupted. Everything that this run has created is removed now.")
                report.error, is_interrupted = "interrupted", True
            except Exception as error:
                self._fail(report, error)
            if report.error is None or report.paid_jobs:
                is_written = self._write(report)
        finally:
            is_clean = clean_up(self.hook, self.journal, self.clock, self.say, self.options)
        if is_interrupted:
            return 130
        return 0 if report.error is None and is_written and is_clean else 1

    def _fail(self, report: Report, error: Exception) -> None:
        """Note what has ended the run early. The message may name the bucket: it is for the terminal only."""
        if isinstance(error, CannotRunError | TencentCIError):
            self.say(f"The run failed: {error}")
        else:
            self.say(f"The run failed because of an error in the kit: {error!r}")
        report.error = describe(error)

    def _observe(self, report: Report) -> None:
        watch = JobWatch(self.hook, self.journal, self.clock)
        facts = Facts(hook=self.hook, journal=self.journal, token=self.token, watch=watch)
        airflow_jobs = [job for job in self.plan.jobs if job.operator]
        airflow = AirflowRun(self.hook, self.journal, airflow_jobs, self.home, poll=self.options.poll)
        try:
            self._make_place(facts)
            self._probe(Stage.NEW_BUCKET, facts, report)
            self._open_services()
            self._probe(Stage.FREE, facts, report)
            if self.plan.jobs and facts.undeletable and not self.journal.place.has_own_bucket:
                raise _cannot_remove(facts.undeletable)
            try:
                self._run_jobs(facts, airflow)
            except Exception as error:  # of what was paid for, as much is observed as can be
                self._fail(report, error)
            self._probe(Stage.ENDED, facts, report)
            for job in airflow_jobs:
                if found := facts.airflow_jobs.get(job.name):
                    report.operators[job.operator] = _how_operator_ended(found)
            if any(not found.is_successful for found in facts.airflow_jobs.values()):
                self.say(f"A task in Airflow has failed. The end of its log:\n{airflow.log_end()}")
        finally:
            accepted = [job for job in watch.jobs.values() if job.may_exist]
            of_batch = watch.batch is not None and watch.batch.may_exist  # it has one input, and so one job
            report.paid_jobs = len(accepted) + of_batch + airflow.count_accepted()

    def _run_jobs(self, facts: Facts, airflow: AirflowRun) -> None:
        """Submit the jobs, and watch them until they have ended."""
        patience, poll = self.options.patience, self.options.poll
        try:
            airflow.start(patience=patience)
            self._submit(facts)
            self.say("Waiting for the jobs")
            facts.watch.wait(patience=patience, poll=poll, cancel_when_running="long_key")
            facts.airflow_jobs = airflow.wait(patience + 60)  # Airflow needs a minute of its own to start
        finally:
            airflow.stop()

    def _make_place(self, facts: Facts) -> None:
        place = self.journal.place
        if place.has_own_bucket:
            self.say(f"Creating the bucket {place.bucket}")
            self.journal.add("bucket", place.bucket)
            try:
                self.hook.call(CreateBucket(), **facts.where)
            except TencentCIError as error:
                if error.code != _OWN_ALREADY:
                    if isinstance(error, PermissionDeniedError):
                        raise CannotRunError(
                            f"{error}. Or name an existing bucket with the services open:"
                            " make live ARGS='--bucket <name>-<appid>'"
                        ) from error
                    raise
        else:
            self.journal.add("prefix", place.prefix)
        none = f"{place.prefix}none"
        self._check_removal(ListObjects(prefix=place.prefix))
        self._check_removal(DeleteObject(none))
        self._check_removal(ListUploads(place.prefix))
        self._check_removal(AbortUpload(Upload(key=none, upload_id="none")))
        self.say("Uploading the inputs")
        with tempfile.TemporaryDirectory() as folder:
            for extension in media.FORMATS:
                path = Path(folder) / f"speech.{extension}"
                media.write_speech(extension, path)
                self.hook.upload_file(path, job_requests.input_key(place, extension), **facts.where)
            self.hook.upload_file(
                Path(folder) / "speech.mp3", job_requests.batch_input_key(place), **facts.where
            )
            path = Path(folder) / "before.txt"
            path.write_text("This object was here before the job.\n")
            key = job_requests.occupied_key(place)
            self.hook.upload_file(path, key, **facts.where)
        facts.occupied_etag = self.hook.head_object(key, **facts.where).etag
        if place.has_own_bucket:
            self._check_removal(DeleteBucket())  # refused, because there are objects in it

    def _check_removal(self, request: ApiRequest[Any]) -> None:
        """Make a call that removal will need, and that removes nothing now.

        :raises CannotRunError: it is not allowed.
        """
        place = self.journal.place
        try:
            self.hook.call(request, bucket=place.bucket, region=place.region)
        except PermissionDeniedError as error:
            raise _cannot_remove(error) from error
        except TencentCIError:  # it says nothing about permissions
            return

    def _open_services(self) -> None:
        """Open the services of a bucket of the kit's own. Those of another one are its owner's matter."""
        place = self.journal.place
        if not place.has_own_bucket:
            return
        self.say("Opening its services")
        for service in (ASR, MEDIA):
            self.journal.add("service", service)
            for attempt in range(1, _OPEN_ATTEMPTS + 1):
                try:
                    self.hook.open_service(service, bucket=place.bucket, region=place.region)
                    break
                except TencentCIError:
                    if attempt == _OPEN_ATTEMPTS:
                        raise
                self.clock.sleep(_OPEN_PAUSE)

    def _submit(self, facts: Facts) -> None:
        """Submit the jobs of the hook."""
        place = self.journal.place
        tried = {name for name, job in facts.watch.jobs.items() if job.may_exist}
        names = self.plan.names_for(Stage.ENDED) - tried

        def user_data(name: str) -> str:
            return f"{self.token}-{name}"

        if "placeholder" in names:
            url = presigned_url(
                job_requests.input_key(place, "wav"),
                self.hook.settings.endpoint(place.bucket, place.region),
                self.hook.settings.credentials.get(),
                now=self.hook.now(),
                seconds=int(self.options.patience) + 600,
            )
            text = user_data("placeholder")
            facts.watch.submit("placeholder", "Transcode", text, job_requests.placeholder(place, text, url))
        for name, tag, build in (
            ("misspelt", "Transcode", job_requests.misspelt),
            ("cancelled", "Transcode", job_requests.cancelled),
            ("same_key", "NoiseReduction", job_requests.same_key),
            ("long_key", "Transcode", job_requests.long_key),
        ):
            if name in names:
                text = user_data(name)
                facts.watch.submit(name, tag, text, build(place, text), cancel=name == "cancelled")
        if "batch" in names:
            text = user_data("batch")
            facts.watch.create_batch(text, job_requests.batch(place, text))

    def _probe(self, stage: Stage, facts: Facts, report: Report) -> None:
        for each in self.plan.observations:
            if each.stage is not stage:
                continue
            self._note_credentials()
            if each.needs and not self.plan.names.intersection(each.needs):
                report.not_observed[each] = "its paid job is not among those of this run"
                continue
            try:
                found = each.probe(facts)
            except NotObservedError as error:
                report.not_observed[each] = str(error)
            except TencentCIError as error:
                report.not_observed[each] = f"the probe failed: {describe(error)}"
            except Exception as error:
                report.not_observed[each] = (
                    f"the probe failed because of an error in the kit: {describe(error)}"
                )
                self.say(f"  {each.name}: {error!r}")
            else:
                report.observations[each] = found
                self.say(f"  {each.name}: {found.evidence}")

    def _write(self, report: Report) -> bool:
        """Write the report; return whether it is in its file."""
        for each in self.plan.observations:
            if each not in report.observations:
                report.not_observed.setdefault(each, "the run ended before")
        secrets = self._secrets()
        report.leave_out(secrets)
        try:
            text, summary = report.as_json(secrets), report.as_markdown(secrets)
        except SecretInReportError as error:
            self.say(f"The report was not written: {error}. Please report this fault of the kit.")
            return False
        self.say(f"\n{summary}")
        try:
            with self.options.report.open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self.say(f"The report could not be written to {self.options.report}: {error}. It is:\n{text}")
            return False
        self.say(f"The report is in {self.options.report}; it can be shared.")
        return True

    def _note_credentials(self) -> None:
        """Note the credentials in use. None are asked for, which might fail when the report is written."""
        if (credentials := self.hook.settings.credentials.cached()) is not None:
            self._credentials.add(credentials)

    def _secrets(self) -> Collection[str]:
        """Return what must not be in the report."""
        self._note_credentials()
        settings, place = self.hook.settings, self.journal.place
        buckets = [place.bucket, *([settings.bucket] if settings.bucket else [])]
        return {
            self.token,
            *(each.secret_id for each in self._credentials),
            *(each.secret_key for each in self._credentials),
            *(each.token or "" for each in self._credentials),
            *buckets,
            *(bucket.rpartition("-")[2] for bucket in buckets),
            *(created.name for created in self.journal.existing("job", "batch")),
        }


def _cannot_remove(error: PermissionDeniedError) -> CannotRunError:
    return CannotRunError(
        f"{error}. Without that, what this run makes could not be removed, so nothing was paid for."
        " docs/permissions.md has the policy."
    )


def _how_operator_ended(found: AirflowJob) -> str:
    """Return what the report says of an operator."""
    if not found.is_accepted:
        return "submitted no job"
    if found.description and found.description.job_state.is_successful and not found.is_successful:
        return "Success, but the task that waited has failed"
    return outcome(found.description)


def clean_up(
    hook: TencentCIHook, journal: Journal, clock: Clock, say: Callable[[str], None], options: Options
) -> bool:
    """Remove what the journal lists; return whether nothing is left. What is left is said."""
    cleanup = Cleanup(hook=hook, journal=journal, clock=clock, say=say, patience=options.patience)
    if not journal.existing():
        journal.close()
        return True
    try:
        say("Removing what was created")
        is_clean = cleanup.run()
    except KeyboardInterrupt:
        ignore_signals()  # the list of what is left must be complete
        say("\nInterrupted again, while this was being removed.")
        is_clean = False
    if not is_clean:
        say(f"This is left; `{options.clean_command}` tries to remove it again:")
        for line in cleanup.left():
            say(f"  {line}")
    else:
        say("Nothing is left.")
    journal.close()
    return is_clean
