"""Records what a task instance submits for many items, in Airflow's task state store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.submission.idempotency_key import TaskIdentity
from airflow_provider_ci.submission.record import TryRecords

#: Key of the number of the latest try that may have submitted, and of the ``max_tries`` and ``deployment`` of
#: its identity. Once it is there, the chunks have all jobs.
#: Never rename this key, nor those below: tries in progress look them up.
BULK_KEY = "ci_bulk"
#: Key of a chunk: the number of the try that submitted it, and the chunk's number in that try.
_CHUNK_KEY = "ci_bulk_{try_number:03}_{number:04}"
#: Key of the time at which a try asked the service to cancel its jobs.
CANCEL_KEY = "ci_bulk_cancel"
_FINGERPRINT_LENGTH = 12
#: Items in a chunk, at most. The store warns of values of more than 64 KB; this many need about 30 KB.
CHUNK_SIZE = 500


@dataclass(slots=True)
class ChunkRecord:
    """Submissions that were recorded together.

    :param max_tries: as in :class:`~airflow_provider_ci.submission.idempotency_key.TaskIdentity`.
    :param since: Unix time, by the service's clock, before the first of the submissions.
    :param fingerprints: of the items, 12 hex digits each.
    :param job_ids: of the items. ``""``: the service certainly accepted no job; ``None``: that is not known,
        and another try has to look for it.
    :param number: of the chunk in its try; 0: it has not been written yet.
    """

    max_tries: int
    since: float
    fingerprints: list[str]
    job_ids: list[str | None]
    number: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the record as the store keeps it."""
        return {
            "max_tries": self.max_tries,
            "since": self.since,
            "fingerprints": "".join(self.fingerprints),
            "job_ids": self.job_ids,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any], number: int) -> ChunkRecord:
        """Return a stored record."""
        joined = value["fingerprints"]
        starts = range(0, len(joined), _FINGERPRINT_LENGTH)
        fingerprints = [joined[start : start + _FINGERPRINT_LENGTH] for start in starts]
        return cls(value["max_tries"], value["since"], fingerprints, value["job_ids"], number)


class BulkRecords(TryRecords):
    """Reads and writes the records of a task instance that submits many jobs.

    Each try writes its chunks under keys of its own, so that a process of an earlier try that lives on cannot
    overwrite those of a later one.
    """

    _first_try_takes_over = True
    _chunks_written = 0
    _has_noted_complete = False

    def are_complete(self, max_tries: int | None = None) -> bool:
        """Tell whether the records have all jobs of the task instance.

        :param max_tries: only if a try with this number wrote that: one of before a clear that emptied the
            store may still write it.
        """
        head = self._head
        return head is not None and max_tries in (None, head["max_tries"])

    def load(self) -> Iterator[ChunkRecord]:
        """Yield the chunks that were recorded, those of later tries last."""
        for try_number in range(1, self._latest_to_submit() + 1):
            for chunk in self._load_of_try(try_number):
                if try_number == self._try_number:
                    self._chunks_written = chunk.number
                yield chunk

    @property
    def deployment(self) -> str | None:
        """The ``deployment`` in the keys of earlier tries, if they have submitted. A clear of a DAG run that
        has ended changes the moment at which the run started, which is the default.
        """
        head = self._head
        return None if head is None else head["deployment"]

    def note_complete(self, identity: TaskIdentity) -> None:
        """Write once that the records have all jobs of earlier tries, and that this try may submit.

        :raises TaskKilledError: another try has begun.
        """
        if self._has_noted_complete:
            return
        head = {
            "latest_try": self._latest_to_submit(),
            "max_tries": identity.max_tries,
            "deployment": identity.deployment,
        }
        self.write_as_latest_try(BULK_KEY, head)
        self._has_noted_complete = True

    @property
    def _head(self) -> dict[str, Any] | None:
        head: dict[str, Any] | None = self.read(BULK_KEY)
        return head

    def _latest_to_submit(self) -> int:
        """Return the number of the latest try that may have written chunks."""
        head = self._head
        return self._try_number if head is None else max(head["latest_try"], self._try_number)

    def save_before_submission(self, chunk: ChunkRecord) -> None:
        """Write a chunk that is submitted next.

        :raises TaskKilledError: another try has begun. It may submit, so this one must not.
        """
        self._number(chunk)
        self.write_as_latest_try(self._key_of(chunk), chunk.to_json())

    def save(self, chunk: ChunkRecord) -> None:
        """Write a chunk whose jobs are known."""
        self._number(chunk)
        self.write(self._key_of(chunk), chunk.to_json())

    def note_cancel_request(self, requested_at: float) -> None:
        """Record that a try of this task asks the service to cancel its jobs, so that a retry may submit them
        again.

        :param requested_at: Unix time, by the service's clock.
        """
        self.write(CANCEL_KEY, requested_at)

    def cancel_requested_at(self) -> float | None:
        """Return the time of the latest such request."""
        requested_at: float | None = self.read(CANCEL_KEY)
        return requested_at

    def _number(self, chunk: ChunkRecord) -> None:
        if chunk.number == 0:
            self._chunks_written += 1
            chunk.number = self._chunks_written

    def _key_of(self, chunk: ChunkRecord) -> str:
        return _CHUNK_KEY.format(try_number=self._try_number, number=chunk.number)

    def _load_of_try(self, try_number: int) -> Iterator[ChunkRecord]:
        number = 1
        while value := self.read(_CHUNK_KEY.format(try_number=try_number, number=number)):
            yield ChunkRecord.from_json(value, number)
            number += 1
