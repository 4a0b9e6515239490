"""The journal: a local file that lists what a run has created, so that it can be removed after a crash too.

A line is written, and forced to the disk, before each creation, and another one after each removal. Only what
is in a journal is ever removed. All names in it have the token of the run, which is random: a journal with
another name was edited, and nothing is removed because of it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from airflow_provider_ci.protocol.wire import Endpoint, Service
from live.clock import Clock
from live.tokens import TOKEN


@dataclass(frozen=True, slots=True)
class Created:
    """Something that exists, or that may exist because it was about to be created.

    :param kind: ``bucket``; ``prefix`` (of all objects' keys, in a bucket that existed before); ``service``
        (open for a bucket); ``template`` (by its name); ``submission`` (of a paid job, by its tag and a name,
        as long as it is not known whether it was accepted); ``job`` (by its id); ``batch submission`` (by the
        batch job's name, as long as it is not known whether it was accepted); ``batch`` (by its id).
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run works.

    :param endpoint: what the calls went to, as :func:`name_endpoint` has it.
    :param prefix: what all keys of objects begin with; empty in a bucket of the kit's own.
    :param has_own_bucket: the kit has created the bucket, so that all that is in it is the kit's.
    """

    endpoint: str
    bucket: str
    region: str
    prefix: str
    has_own_bucket: bool


class JournalError(Exception):
    """A journal cannot be used. The text says why, and what to do."""


class Journal:
    """The journal of one run. It is locked as long as it is open."""

    def __init__(self, path: Path, file: IO[str], place: Place, clock: Clock) -> None:
        self.path = path
        self.place = place
        self._file = file
        self._clock = clock
        self._existing: dict[Created, float] = {}

    @classmethod
    def create(cls, folder: Path, token: str, place: Place, clock: Clock) -> Journal:
        """Begin the journal of a new run."""
        path = folder / f"{token}.journal"
        begun = folder / f"{token}.begun"
        file = os.fdopen(os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "r+")
        _lock(path, file)
        journal = cls(path, file, place, clock)
        journal._write({"place": asdict(place)})
        begun.rename(path)  # so that no journal is ever without its place, or without its lock
        return journal

    @classmethod
    def open(cls, path: Path, clock: Clock) -> Journal:
        """Open the journal of an earlier run.

        :raises JournalError: that run has not ended, or the journal is none, or it was edited.
        :raises FileNotFoundError: it was deleted meanwhile, because nothing was left.
        """
        file = path.open("r+")
        _lock(path, file)
        try:
            text = file.read()
            # what an incomplete last line is about was never begun
            complete = text[: text.rfind("\n") + 1]
            first, *lines = [json.loads(line) for line in complete.splitlines()]
            place = Place(**first["place"])
            existing: dict[Created, float] = {}
            for line in lines:
                created = Created(line["kind"], line["name"])
                if not _is_of_run(created, path.stem, place):
                    raise ValueError(created)
                if line["exists"]:
                    existing[created] = float(line["at"])
                else:
                    existing.pop(created, None)
        except (ValueError, TypeError, KeyError):
            file.close()
            raise JournalError(
                f"{path} is no journal as a run writes it, so nothing was removed because of it. Look in your"
                f" account for a bucket, objects and templates whose names have {path.stem}, remove them,"
                " then delete the file."
            ) from None
        if complete != text:
            file.seek(len(complete.encode()))
            file.truncate()
        journal = cls(path, file, place, clock)
        journal._existing = existing
        return journal

    def add(self, kind: str, name: str) -> Created:
        """Note that something is about to be created."""
        created = Created(kind, name)
        if created not in self._existing:
            now = self._existing[created] = self._clock.unix_time()
            self._write({"kind": kind, "name": name, "exists": True, "at": now})
        return created

    def remove(self, created: Created) -> None:
        """Note that something does not exist any more."""
        del self._existing[created]
        self._write({"kind": created.kind, "name": created.name, "exists": False})

    def existing(self, *kinds: str) -> list[Created]:
        """Return what exists of these kinds, the oldest first; without kinds: all."""
        return [created for created in self._existing if not kinds or created.kind in kinds]

    def added_at(self, created: Created) -> float:
        """Return the Unix time at which this was noted."""
        return self._existing[created]

    def check_endpoint(self, endpoint: str) -> None:
        """Make sure that what exists is looked for where it was created: elsewhere, nothing of it is found.

        :raises JournalError: calls would go to another endpoint. The journal is closed.
        """
        if self._existing and endpoint != self.place.endpoint:
            self.close()
            raise JournalError(
                f"{self.path} is of a run at {self.place.endpoint}, but the connection leads to {endpoint}:"
                " nothing was removed. Name the run's connection with --conn-id, or correct endpoint_url,"
                " ci_host and cos_host of this one, then run this again. If that endpoint does not exist any"
                " more, as of an emulator that has ended, delete the file."
            )

    def close(self) -> None:
        """Close the file, and delete it if nothing is left to be removed."""
        if not self._existing:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def name_endpoint(endpoint: Endpoint) -> str:
    """Return what calls go to, without anything of the account: the hosts without the bucket."""
    hosts = " and ".join(endpoint.host(service).removeprefix(f"{endpoint.bucket}.") for service in Service)
    return f"{endpoint.base_url.rstrip('/')} ({hosts})" if endpoint.base_url else hosts


def journals(folder: Path) -> Iterator[Path]:
    """Yield the journals in a folder, the oldest first. A link, or a file with another name, is none."""
    found = []
    for path in folder.glob("*.journal"):
        with suppress(FileNotFoundError):  # another process has just removed everything
            status = path.lstat()
            if TOKEN.fullmatch(path.stem) and stat.S_ISREG(status.st_mode):
                found.append((status.st_mtime, path))
    yield from (path for _, path in sorted(found))


def _is_of_run(created: Created, token: str, place: Place) -> bool:
    """Tell whether a run with this token can have created this."""
    if TOKEN.fullmatch(token) is None or place.prefix != f"{token}/":
        return False
    if place.has_own_bucket and re.fullmatch(rf"{token}-[0-9]+", place.bucket) is None:
        return False
    match created.kind:
        case "bucket":
            return place.has_own_bucket and created.name == place.bucket
        case "prefix":
            return not place.has_own_bucket and created.name == place.prefix
        case "service":
            return place.has_own_bucket and created.name in ("asr", "media")
        case "template" | "batch submission":
            return created.name.startswith(f"{token}-")
        case "submission" | "job" | "batch":  # the cleanup looks whether a job is of this run
            return bool(created.name)
    return False


def _lock(path: Path, file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise JournalError(
            f"A run that has not ended works with {path}: wait for its end, or end it."
        ) from None
