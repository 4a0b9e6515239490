"""The state of one try of a task: its job, and the submission that it has sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import AmbiguousSubmissionError, TaskKilledError, TencentCIError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.submission.record import SubmissionRecords


@dataclass
class SentSubmission:
    """The latest submission that this try sent.

    :param where_to_look: where a user can look for its job: a part of a hint.
    :param is_response_awaited: the response may still come.
    :param is_response_lost: if so, it is unknown whether the service accepted the submission.
    """

    user_data: str | None
    where_to_look: str
    sent_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    is_response_awaited: bool = True
    is_response_lost: bool = False


@dataclass
class TryState:
    """The state of one try. Its operator keeps it up to date.

    :param durable: a retry looks for the job of this try.
    :param job_id: the job, once it is known.
    :param found_by_request: the job was found by its request, and may be somebody else's.
    :param is_executing: Airflow is running the operator's code, so ``on_kill`` interrupts it.
    :param has_finished: the operator's code has returned or deferred.
    """

    durable: bool
    context: Context | None = None
    job_id: str | None = None
    found_by_request: bool = False
    is_executing: bool = False
    has_finished: bool = False
    sent_submission: SentSubmission | None = None

    def begin(self, context: Context) -> None:
        """Note that Airflow has called the operator, perhaps again: after a deferral, ``dag.test()`` resumes
        the same object.
        """
        self.context, self.sent_submission = context, None
        self.is_executing, self.has_finished = True, False

    @property
    def awaits_response(self) -> bool:
        """Whether a submission was sent whose response may still come."""
        return self.sent_submission is not None and self.sent_submission.is_response_awaited

    @property
    def has_lost_response(self) -> bool:
        """Whether a submission was sent whose response is lost."""
        return self.sent_submission is not None and self.sent_submission.is_response_lost

    @property
    def records(self) -> SubmissionRecords:
        """The records of this task instance; without ``durable``, or before Airflow 3.3, there are none."""
        # not at the top: DAG files load this module
        from airflow_provider_ci.submission.record import SubmissionRecords

        store = self.context.get("task_state_store") if self.context is not None and self.durable else None
        if self.context is None or store is None:
            return SubmissionRecords(None, 1)
        return SubmissionRecords(store, self.context["ti"].try_number)

    @property
    def may_be_others_job(self) -> bool:
        """Whether the job was found by its request alone, by this try or by an earlier one.

        :raises StateStoreError: Airflow does not give the record.
        """
        return self.found_by_request or self.records.was_found_by_request(str(self.job_id))

    @property
    def is_retry(self) -> bool:
        """Whether an earlier try may have submitted a job that this one continues with."""
        return self.durable and self.context is not None and self.context["ti"].try_number > 1

    @contextmanager
    def note_sending(self, request: Tree, where_to_look: str) -> Iterator[None]:
        """Note that a submission is sent in this block, and whether its response is lost.

        :param where_to_look: where a user can look for its job if the response is lost: a part of a hint.
        """
        from airflow_provider_ci.protocol.tree import find_text

        self.sent_submission = sent = SentSubmission(find_text(request, "Operation.UserData"), where_to_look)
        try:
            yield
        except AmbiguousSubmissionError:
            sent.is_response_lost = True
            raise
        except TencentCIError:  # the service refused it, or it was never sent
            raise
        except BaseException:  # a signal or a timeout ended the wait for the response
            sent.is_response_lost = True
            raise
        finally:
            sent.is_response_awaited = False

    def error_of_unknown_submission(self, event: str) -> TaskKilledError:
        """Return an error that says that a job may have been accepted, and how to look for it.

        :param event: the beginning of the message: what happened.
        """
        return TaskKilledError(
            f"{event} while it is unknown whether the service has accepted its submission: a job may run, and"
            " be billed",
            hint=self.hint_to_look_for_job,
        )

    @property
    def hint_to_look_for_job(self) -> str:
        """How a user can look for the job of the submission that was sent."""
        assert self.sent_submission is not None  # noqa: S101 - for the type checker
        data = f", UserData {self.sent_submission.user_data!r}" if self.sent_submission.user_data else ""
        look = "A retry looks for it and continues with it; without a retry, look" if self.durable else "Look"
        sent_at = f"{self.sent_submission.sent_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"{look} for it {self.sent_submission.where_to_look}: sent at {sent_at}{data}"
