"""What all types of jobs have in common: finding the input, naming the result files, describing them.

Not documented for all types, and so decided here: ``${jobid}`` and ``${ext}``, the name of the format or
container, are replaced in the keys of every type; all other placeholders only in the jobs of batch jobs.
``${Number}`` of a series counts from 0.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from tencent_ci_emulator.http.xml import Element, build, parse, text_of, to_bytes
from tencent_ci_emulator.jobs.job_store import JobFailedError, StoredJob
from tencent_ci_emulator.media import UnsupportedMediaError
from tencent_ci_emulator.objects.object_store import ObjectStore, StoredObject
from tencent_ci_emulator.observed import ASSUMED, ObservedBehaviour

T = TypeVar("T")

#: A header of results that says what has made them; the real service has no such header
METHOD_HEADER = "x-cos-meta-processed-by"

_OF_ALL_JOBS = ("Output", "UserData", "JobLevel", "TemplateId", "TemplateName")
# Values with which a parameter asks for nothing
_ASKS_FOR_NOTHING = ("", "false", "none", "auto")
_NUMBER = re.compile(r"\$\{[Nn]umber\}")
_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
# The placeholders that documents or samples have, for whatever jobs
_DOCUMENTED_PLACEHOLDERS = frozenset(
    (
        *("jobid", "ext", "Number", "number"),
        *("InventoryTriggerJobId", "InputPath", "InputName", "InputNameAndExt"),
    )
)


@dataclass(frozen=True, slots=True)
class JobAtWork(StoredJob):
    """A job as the work on it sees it, with how the service behaves."""

    observed: ObservedBehaviour = ASSUMED

    @property
    def operation(self) -> Element:
        """The request's element ``Operation``; an empty one if it has none."""
        operation = parse(self.request).find("Operation")
        return build("Operation") if operation is None else operation

    @classmethod
    def of(cls, job: StoredJob, observed: ObservedBehaviour) -> JobAtWork:
        """Return a stored job as the work on it sees it."""
        return cls(**{each.name: getattr(job, each.name) for each in fields(job)}, observed=observed)


@dataclass(frozen=True, slots=True)
class JobOutput:
    """What the work on a job has made. The files are not in the object store yet: publish them, or
    :meth:`discard` them.

    :param method: what has processed the input, in words for people.
    :param files: the result files by their object keys.
    :param result: the elements of ``Operation`` that the request does not have, by the rules of
        :func:`~tencent_ci_emulator.http.xml.build`.
    :param message: the job's ``Message``.
    """

    method: str
    files: Mapping[str, Path] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""

    @property
    def document(self) -> bytes:
        """The document ``Operation`` with the result's elements."""
        return to_bytes(build("Operation", self.result))

    def discard(self) -> None:
        """Delete the files."""
        for path in self.files.values():
            path.unlink(missing_ok=True)


class NotProcessedError(Exception):
    """The emulator does not do what a job asks for. The text is the reason; it completes "not processed:"."""


#: Does the work of a job of one type. It calls the last argument with the share that is done, 0.0 to 1.0, and
#: that call raises if the work is to stop. A processor raises :class:`JobFailedError` if the input is missing
#: or unusable, and :class:`NotProcessedError`
Processor = Callable[[JobAtWork, ObjectStore, Callable[[float], None]], JobOutput]


class NewFiles:
    """The paths of files that are being written."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._paths: list[Path] = []

    def add(self) -> Path:
        """Return a new path."""
        self._paths.append(self._objects.make_incoming_path())
        return self._paths[-1]

    def discard(self) -> None:
        """Delete all of them that exist."""
        for path in self._paths:
            path.unlink(missing_ok=True)


@contextmanager
def new_files(objects: ObjectStore) -> Iterator[NewFiles]:
    """Give paths for results, and delete what was written if the work fails."""
    files = NewFiles(objects)
    try:
        yield files
    except BaseException:
        files.discard()
        raise


def find_object(bucket: str, key: str, objects: ObjectStore, name: str = "the input object") -> StoredObject:
    """Return an object that a job reads.

    :raises JobFailedError: there is none.
    """
    found = objects.get(bucket, key)
    if found is None:
        raise JobFailedError("ResourceNotFound", f"{name} {key} does not exist in bucket {bucket}")
    return found


def read_text_object(stored: StoredObject, megabytes: int) -> str:
    """Return the text of an object.

    :param megabytes: how large it may be.
    :raises JobFailedError: it is larger, or no text.
    """
    if stored.size > megabytes * 1024**2:
        raise JobFailedError("ResourceNotSupported", f"{stored.key} is larger than {megabytes} MB")
    try:
        return stored.path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        message = f"{stored.key} cannot be read: {type(error).__name__}"
        raise JobFailedError("ResourceNotSupported", message) from None


def read_input(job: JobAtWork, objects: ObjectStore, read: Callable[[Path], T]) -> T:
    """Call ``read`` with the file of the job's input, and return what it returns.

    ``read`` is called again if it raises :class:`FileNotFoundError` and the input has a new file.

    :raises JobFailedError: there is no input, or ``read`` raises :class:`UnsupportedMediaError`.
    """
    source = find_object(job.bucket, job.input_object, objects)
    while True:
        try:
            with unsupported_media_fails_the_job():
                return read(source.path)
        except FileNotFoundError:
            # Deleted since it was looked up, or overwritten: then its content is another file
            previous, source = source, find_object(job.bucket, job.input_object, objects)
            if source.path == previous.path:
                raise JobFailedError("InternalError", "the input object has lost its content") from None


@contextmanager
def unsupported_media_fails_the_job() -> Iterator[None]:
    """Turn :class:`UnsupportedMediaError` into the failure of the job."""
    try:
        yield
    except UnsupportedMediaError as error:
        message = f"the input object cannot be processed: {error}"
        raise JobFailedError("ResourceNotSupported", message) from None


def is_misspelt(placeholder: str) -> bool:
    """Return whether no document has a placeholder of this name."""
    return placeholder not in _DOCUMENTED_PLACEHOLDERS


def placeholders_of(pattern: str) -> list[str]:
    """Return the names of the placeholders in an object key."""
    return _PLACEHOLDER.findall(pattern)


def expand_placeholders(job: JobAtWork, pattern: str, extension: str, number: int | None = None) -> str:
    """Replace the placeholders of an object key, in one pass: the input's name may look like one.

    Some are for the jobs of a batch job only (460/80155; ``InputName`` and others from samples).

    :param number: of a file in a series (1045/48938).
    """
    values = {"ext": extension}
    # Documented for voice separation
    if job.observed.placeholder_jobid == "replaced" or job.tag == "VoiceSeparate":
        values["jobid"] = job.id
    if number is not None:
        values |= {"Number": str(number), "number": str(number)}
    if job.batch_id is not None:
        folder, _, name = job.input_object.rpartition("/")
        values |= {
            "InventoryTriggerJobId": job.batch_id,
            "InputPath": folder,
            "InputName": name.rpartition(".")[0] or name,
            "InputNameAndExt": name,
        }
    are_removed = job.observed.misspelt_placeholder == "removed"

    def replace(match: re.Match[str]) -> str:
        unknown = "" if are_removed and is_misspelt(match[1]) else match[0]
        return values.get(match[1], unknown)

    return _PLACEHOLDER.sub(replace, pattern)


def describe_unapplied(operation: Element, applied: Collection[str]) -> str:
    """Return a message that names what an operation asks for and does not get; empty if there is nothing.

    :param applied: the paths of the elements that have an effect, or of elements that hold them.
    """
    partly_applied = {path.partition("/")[0] for path in applied}
    names = []
    for path, text in _leaves(operation):
        top = path.partition("/")[0]
        if top in _OF_ALL_JOBS or text.lower() in _ASKS_FOR_NOTHING:
            continue
        if not any(path == one or path.startswith(f"{one}/") for one in applied):
            # of an element of which nothing is applied, the name is enough
            names.append(path.replace("/", ".") if top in partly_applied else top)
    return f"not applied: {', '.join(dict.fromkeys(names))}" if names else ""


def _leaves(element: Element, path: str = "") -> Iterator[tuple[str, str]]:
    for child in element:
        if len(child):
            yield from _leaves(child, f"{path}{child.tag}/")
        else:
            yield f"{path}{child.tag}", (child.text or "").strip()


def name_series(job: JobAtWork, pattern: str, extension: str, count: int) -> tuple[str, list[str]]:
    """Return the keys of files in a series, and the part before their numbers, which they have in common.

    A pattern without a number names one file, and has no common part.
    """
    match = _NUMBER.search(pattern)
    prefix = expand_placeholders(job, pattern[: match.start()], extension) if match else ""
    return prefix, [expand_placeholders(job, pattern, extension, number) for number in range(count)]


def has_number(pattern: str) -> bool:
    """Return whether a pattern names a series of files."""
    return _NUMBER.search(pattern) is not None


def describe_files(output: Element | None, files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the content of ``MediaResult`` for files by object key, with an empty ``ObjectPrefix``.

    :param output: the request's ``Operation.Output``.
    """
    return {"OutputFile": {**describe_place(output), **describe_names(sorted(files), files)}}


def describe_place(output: Element | None) -> dict[str, Any]:
    """Return the elements that name the bucket of results."""
    return {"Bucket": text_of(output, "Bucket"), "Region": text_of(output, "Region")}


def describe_names(keys: Iterable[str], files: Mapping[str, Path], prefix: str = "") -> dict[str, Any]:
    """Return names and MD5s of files in the order of ``keys``; the names without their common prefix."""
    keys = [*keys]
    return {
        "ObjectPrefix": prefix,
        "ObjectName": [key.removeprefix(prefix) for key in keys],
        "Md5Info": [{"ObjectName": key, "Md5": md5_of(files[key])} for key in keys],
    }


def md5_of(path: Path) -> str:
    """Return the MD5 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()
