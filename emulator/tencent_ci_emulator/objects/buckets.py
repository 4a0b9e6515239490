"""The buckets: those of the settings, and those that clients make (PUT Bucket, 436/7738) and delete
(DELETE Bucket, 436/7732).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.objects.names import BUCKET, BUCKET_NAME

_SCHEMA = """
CREATE TABLE IF NOT EXISTS buckets (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created REAL NOT NULL
)
"""
# What keeps a bucket from being deleted, and what is deleted with it. Its jobs stay: they were accepted
_CONTENTS = ("objects", "uploads")
_BELONGINGS = ("services", "queues", "templates")


@dataclass(frozen=True, slots=True)
class _Row:
    name: str


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of the data folder, all of them in the same region. Safe to use from several threads."""

    config: EmulatorConfig
    database: Database
    clock: Clock
    _create_callbacks: list[Callable[[str], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the table, and the buckets of the settings."""
        self.database.create(_SCHEMA)
        for bucket in self.config.buckets:
            self._insert(bucket, conflict="IGNORE")

    def on_create(self, callback: Callable[[str], None]) -> None:
        """Call ``callback`` with each bucket that a client makes, in the transaction that makes it."""
        self._create_callbacks.append(callback)

    def names(self) -> list[str]:
        """Return the names of all buckets, oldest first."""
        return [row.name for row in self.database.select(_Row, "buckets", {}, order="number")]

    def exists(self, bucket: str) -> bool:
        """Return whether there is a bucket of this name."""
        return self.database.count("buckets", {"name": bucket}) > 0

    def create(self, bucket: str) -> None:
        """Make a bucket, for which no service of CI is open.

        :raises ServiceError: the name is not allowed, or taken. Which code that has is a guess.
        """
        if not BUCKET_NAME.fullmatch(bucket):
            raise ServiceError(400, "InvalidBucketName", f"allowed is {BUCKET.allowed}")
        with self.database.transaction():
            if self.exists(bucket):
                raise ServiceError(409, "BucketAlreadyOwnedByYou", f"you have made bucket {bucket} already")
            self._insert(bucket)
            for callback in self._create_callbacks:
                callback(bucket)

    def delete(self, bucket: str) -> None:
        """Delete an empty bucket, with its queues and templates.

        :raises ServiceError: it holds objects or unfinished uploads.
        """
        with self.database.transaction():
            if any(self.database.count(table, {"bucket": bucket}) for table in _CONTENTS):
                message = f"bucket {bucket} holds objects or unfinished uploads: delete them first"
                raise ServiceError(409, "BucketNotEmpty", message)
            for table in _BELONGINGS:
                self.database.delete(table, {"bucket": bucket})
            self.database.delete("buckets", {"name": bucket})

    def _insert(self, bucket: str, conflict: str = "ABORT") -> None:
        self.database.insert("buckets", {"name": bucket, "created": self.clock.now()}, conflict=conflict)
