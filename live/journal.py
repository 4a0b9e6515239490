"""The journal: a local file that lists what a run has created, so that it can be removed after a crash too.

A line is written, and forced to the disk, before each creation, and another one after each removal. Only what
is in a journal is ever removed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class Created:
    """Something that exists, or that may exist because it was about to be created.

    :param kind: ``bucket``; ``prefix`` (of all objects' keys, in a bucket that existed before); ``service``
        (open for a bucket); ``template`` (by its name); ``jobs`` (of a tag, because an id is only known once
        the job is accepted); ``job`` (by its id).
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a run works.

    :param prefix: what all keys of objects begin with; empty in a bucket of the kit's own.
    :param has_own_bucket: the kit has created the bucket, so that all that is in it is the kit's.
    """

    bucket: str
    region: str
    prefix: str
    has_own_bucket: bool


class JournalInUseError(Exception):
    """Another process works with the journal."""


class Journal:
    """The journal of one run. It is locked as long as it is open."""

    def __init__(self, path: Path, file: IO[str], place: Place) -> None:
        self.path = path
        self.place = place
        self._file = file
        self._existing: dict[Created, None] = {}

    @classmethod
    def create(cls, folder: Path, token: str, place: Place) -> Journal:
        """Begin the journal of a new run."""
        path = folder / f"{token}.journal"
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "r+")
        _lock(path, file)
        journal = cls(path, file, place)
        journal._write({"place": asdict(place)})
        return journal

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Open the journal of an earlier run.

        :raises JournalInUseError: that run has not ended.
        """
        file = path.open("r+")
        _lock(path, file)
        first, *lines = _read_lines(file)
        journal = cls(path, file, Place(**first["place"]))
        for line in lines:
            created = Created(line["kind"], line["name"])
            if line["exists"]:
                journal._existing[created] = None
            else:
                journal._existing.pop(created, None)
        return journal

    def add(self, kind: str, name: str) -> None:
        """Note that something is about to be created."""
        created = Created(kind, name)
        if created not in self._existing:
            self._existing[created] = None
            self._write({"kind": kind, "name": name, "exists": True})

    def remove(self, created: Created) -> None:
        """Note that something does not exist any more."""
        del self._existing[created]
        self._write({"kind": created.kind, "name": created.name, "exists": False})

    def existing(self, *kinds: str) -> list[Created]:
        """Return what exists of these kinds, the oldest first; without kinds: all."""
        return [created for created in self._existing if not kinds or created.kind in kinds]

    def close(self) -> None:
        """Close the file, and delete it if nothing is left to be removed."""
        if not self._existing:
            self.path.unlink(missing_ok=True)
        self._file.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def journals(folder: Path) -> Iterator[Path]:
    """Yield the journals in a folder, the oldest first."""
    yield from sorted(folder.glob("*.journal"), key=lambda path: path.stat().st_mtime)


def _lock(path: Path, file: IO[str]) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise JournalInUseError(f"A run that has not ended works with {path}") from None


def _read_lines(file: IO[str]) -> list[dict[str, Any]]:
    """Read the lines; the last one may be incomplete, because what it is about was never begun."""
    lines = []
    for line in file:
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines
