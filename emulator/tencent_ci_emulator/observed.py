"""What the documents do not say of the service, and how this emulator behaves there.

Each field of :class:`ObservedBehaviour` is one open question. Its default is what the emulator assumes. A
report of ``make live``, which asks the real service, has the answers: ``--as-observed report.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_VERSION = 1
_MOST_BYTES = 1 << 20  # a report has some 10,000
_MOST_SECONDS = 86400
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d")
_QUOTED_CHARACTERS = 100
_REFUSAL = 'an object such as {"status": 400, "code": "InvalidArgument"}, with a status from 300 to 599'


class ObservedError(ValueError):
    """The report is not one that can be read: names the field, its value and what is allowed."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        shown = value if isinstance(value, str) else json.dumps(value, default=repr)
        if len(shown) > _QUOTED_CHARACTERS:
            shown = f"{shown[:_QUOTED_CHARACTERS]}…"
        super().__init__(f"{name} is {shown}, allowed: {allowed}")


class _NotAllowedError(Exception):
    """A value is not allowed."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error response: HTTP status and ``Code``."""

    status: int
    code: str


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """What a cancellation does to jobs in some states.

    :param status: 200, or the status of an error.
    :param is_effective: whether the jobs become ``Cancel``.
    :param code: of the error.
    """

    status: int
    is_effective: bool
    code: str = "InvalidArgument"


#: The outcomes of cancelling a job in time, and of a cancellation that is refused
CANCELLED, REFUSED = CancelOutcome(200, True), CancelOutcome(400, False)
_UNBOUND = Refusal(400, "MediaBucketUnBinded")
_NO_TEMPLATE = Refusal(400, "TemplateNotFound")
_WRONG_REGION = Refusal(400, "InvalidHost")
_INVALID_ARGUMENT = Refusal(400, "InvalidArgument")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedBehaviour:
    """The answers to the open questions. The defaults are what the emulator assumes.

    :param user_data_in_description: ``UserData`` comes back in descriptions of jobs, and in their callbacks.
    :param user_data_in_list: ``UserData`` comes back in lists of jobs.
    :param list_lag_seconds: younger jobs are missing in lists.
    :param ended_lag_seconds: so long after the end of a job, lists say that it is still ``Running``.
    :param list_order_by_time_asc: whether lists know ``orderByTime=Asc``; otherwise the newest comes first.
    :param list_ends_included: jobs of the very seconds of ``startCreationTime`` and ``endCreationTime`` are
        listed.
    :param listed_tags: by tag, whether jobs of it can be listed. A tag that is not here can be listed if that
        is documented, or if the bucket has such a job.
    :param unknown_job: how the description of jobs responds if none of them exists: their ids are in
        ``NonExistJobIds``, the response is ``empty``, or an error.
    :param cancel_submitted: whether a job that has not begun can be cancelled.
    :param cancel_running: the outcome for a job that is ``Running``.
    :param cancel_ended: the outcome for a job that has ended, or does not exist.
    :param cancelled_job_billed: the ledger counts cancelled jobs as billed.
    :param unbound_bucket: a job on a bucket without the service is accepted, or the error.
    :param long_result_key: a key for a result of more than 850 bytes is accepted, or the error.
    :param misspelt_placeholder: a placeholder that no document has, such as ``${jobId}``, stays in the key,
        is removed, or is refused.
    :param placeholder_jobid: ``${jobid}`` in jobs of other types than voice separation is replaced or not.
    :param same_result_key: the object that has the key of a result is overwritten or kept, or the job is
        refused.
    :param input_formats: by extension of the input's key, whether the service can read it: otherwise the job
        fails.
    :param codec_containers: by container and codec, whether ``Transcode`` can put the sound into it.
    :param callback_kafka_config: ``CallBackKafkaConfig`` is accepted, or the error.
    :param input_url: other types than speech recognition take ``Input.Url``.
    :param samplerate_spelling: the spelling that noise reduction knows; the other one is dropped.
    :param template_not_found: the error for an unknown template.
    :param wrong_region: the error for a bucket under the host of another region.
    :param invalid_argument: the error for a value that is not allowed.
    :param progress: whether jobs have ``Progress``.
    :param job_id_length: characters of a job's id.
    :param batch_id_length: characters of a batch job's id.
    :param batch_user_data: ``UserData`` comes back in responses about batch jobs.
    :param timestamps_offset: the offset from UTC of the times that CI writes.
    """

    user_data_in_description: bool = True
    user_data_in_list: bool = True
    list_lag_seconds: float = 0.0
    ended_lag_seconds: float = 0.0
    list_order_by_time_asc: str = "honoured"
    list_ends_included: bool = True
    listed_tags: Mapping[str, bool] = field(default_factory=dict)
    unknown_job: str | Refusal = "NonExistJobIds"
    cancel_submitted: str = "cancelled"
    cancel_running: CancelOutcome = REFUSED
    cancel_ended: CancelOutcome = REFUSED
    cancelled_job_billed: bool = False
    unbound_bucket: str | Refusal = _UNBOUND
    long_result_key: str | Refusal = "accepted"
    misspelt_placeholder: str | Refusal = "literal"
    placeholder_jobid: str = "replaced"
    same_result_key: str | Refusal = "overwritten"
    input_formats: Mapping[str, bool] = field(default_factory=dict)
    codec_containers: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    callback_kafka_config: str | Refusal = "accepted"
    input_url: bool = True
    samplerate_spelling: str = "both"
    template_not_found: Refusal = _NO_TEMPLATE
    wrong_region: Refusal = _WRONG_REGION
    invalid_argument: Refusal = _INVALID_ARGUMENT
    progress: str = "percentage"
    job_id_length: int = 33
    batch_id_length: int = 33
    batch_user_data: bool = True
    timestamps_offset: str = "+0800"

    @classmethod
    def read(cls, report: Path | str | Mapping[str, Any]) -> ObservedBehaviour:
        """Read what a report has observed; the rest is as the emulator assumes.

        Of a report only ``version`` and ``observations.<name>.observed`` matter.

        :param report: the report, or the JSON file that holds it.
        :raises ObservedError: the version, a name or a value is not one that can be read.
        :raises OSError: the file cannot be read.
        """
        loaded = report if isinstance(report, Mapping) else _load(Path(report))
        if not _is_int(version := loaded.get("version"), _VERSION, _VERSION):
            raise ObservedError("version", json.dumps(version, default=repr), str(_VERSION))
        observations = loaded.get("observations")
        if not isinstance(observations, Mapping):
            raise ObservedError("observations", observations, "an object")
        answers: dict[str, Any] = {}
        for name, observation in observations.items():
            if name not in _ANSWERS:
                raise ObservedError("a name in observations", name, ", ".join(_ANSWERS))
            if not isinstance(observation, Mapping) or "observed" not in observation:
                raise ObservedError(f"observations.{name}", observation, 'an object with "observed"')
            try:
                answers[name] = _ANSWERS[name].read(observation["observed"])
            except _NotAllowedError:
                path = f"observations.{name}.observed"
                raise ObservedError(path, observation["observed"], _ANSWERS[name].allowed) from None
        return cls(**answers)


#: What the emulator assumes where the documents are silent
ASSUMED = ObservedBehaviour()


def _load(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as file:
        text = file.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ObservedError(f"the report {path}", "larger", f"at most {_MOST_BYTES} bytes")
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ObservedError(f"the report {path}", str(error), "JSON") from None
    if not isinstance(loaded, Mapping):
        raise ObservedError(f"the report {path}", loaded, "an object")
    return loaded


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a report may say of a question: in words, and as a function that reads it."""

    allowed: str
    read: Callable[[Any], Any]


def _is_int(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _accept(is_allowed: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a function that returns a value, or raises if it is not allowed."""

    def read(value: Any) -> Any:
        if not is_allowed(value):
            raise _NotAllowedError
        return value

    return read


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_SECONDS


def _is_flags(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(each, bool) for each in value.values())


def _is_flags_by_name(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_flags(each) for each in value.values())


def _is_offset(value: Any) -> bool:
    return isinstance(value, str) and _OFFSET.fullmatch(value) is not None


def _read_refusal(value: Any) -> Refusal:
    if not isinstance(value, Mapping) or value.keys() != {"status", "code"}:
        raise _NotAllowedError
    status, code = value["status"], value["code"]
    if not _is_int(status, 300, 599) or not isinstance(code, str) or not _CODE.fullmatch(code):
        raise _NotAllowedError
    return Refusal(status, code)


def _read_unknown_job(value: Any) -> str | Refusal:
    if isinstance(value, Mapping) and value.keys() == {"status", "form"} and value["status"] == 200:
        if value["form"] in ("NonExistJobIds", "empty"):
            return str(value["form"])
        raise _NotAllowedError
    return _read_refusal(value)


def _read_cancellation(value: Any) -> CancelOutcome:
    if not isinstance(value, Mapping) or not {"status", "effect"} <= value.keys() <= {*_OUTCOME}:
        raise _NotAllowedError
    if value["effect"] not in ("none", "cancelled"):
        raise _NotAllowedError
    status, is_effective = value["status"], value["effect"] == "cancelled"
    if status == 200 and "code" not in value:
        return CancelOutcome(200, is_effective)
    refusal = _read_refusal({"status": status, "code": value.get("code", REFUSED.code)})
    return CancelOutcome(refusal.status, is_effective, refusal.code)


def _words(*words: str) -> _Answer:
    return _Answer(", ".join(words), _accept(lambda value: value in words))


def _words_or_refusal(*words: str) -> _Answer:
    allowed = f"{', '.join(words)}, or {_REFUSAL}"
    return _Answer(allowed, lambda value: value if value in words else _read_refusal(value))


_OUTCOME = ("status", "effect", "code")
_FLAG = _Answer("true or false", _accept(lambda value: isinstance(value, bool)))
_SECONDS = _Answer(f"seconds, 0 to {_MOST_SECONDS}", _accept(_is_number))
_LENGTH = _Answer("a whole number from 9 to 128", _accept(lambda value: _is_int(value, 9, 128)))
_ERROR = _Answer(_REFUSAL, _read_refusal)
_CANCELLATION = _Answer(
    'an object such as {"status": 400, "effect": "none"}, with a status of 200 or from 300 to 599, an effect'
    ' "none" or "cancelled", and perhaps the "code" of the error',
    _read_cancellation,
)

_ANSWERS = {
    "user_data_in_description": _FLAG,
    "user_data_in_list": _FLAG,
    "list_lag_seconds": _SECONDS,
    "ended_lag_seconds": _SECONDS,
    "list_order_by_time_asc": _words("honoured", "ignored"),
    "list_ends_included": _FLAG,
    "listed_tags": _Answer("an object of tags, each true or false", _accept(_is_flags)),
    "unknown_job": _Answer(
        f'{{"status": 200, "form": "NonExistJobIds"}}, the same with "empty", or {_REFUSAL}',
        _read_unknown_job,
    ),
    "cancel_submitted": _words("cancelled", "refused"),
    "cancel_running": _CANCELLATION,
    "cancel_ended": _CANCELLATION,
    "cancelled_job_billed": _FLAG,
    "unbound_bucket": _words_or_refusal("accepted"),
    "long_result_key": _words_or_refusal("accepted"),
    "misspelt_placeholder": _words_or_refusal("literal", "removed"),
    "placeholder_jobid": _words("replaced", "literal"),
    "same_result_key": _words_or_refusal("overwritten", "kept"),
    "input_formats": _Answer("an object of extensions, each true or false", _accept(_is_flags)),
    "codec_containers": _Answer(
        'an object of containers, each an object of codecs, such as {"ogg": {"opus": true}}',
        _accept(_is_flags_by_name),
    ),
    "callback_kafka_config": _words_or_refusal("accepted"),
    "input_url": _FLAG,
    "samplerate_spelling": _words("both", "Samplerate", "SampleRate"),
    "template_not_found": _ERROR,
    "wrong_region": _ERROR,
    "invalid_argument": _ERROR,
    "progress": _words("percentage", "absent"),
    "job_id_length": _LENGTH,
    "batch_id_length": _LENGTH,
    "batch_user_data": _FLAG,
    "timestamps_offset": _Answer("an offset such as +0800", _accept(_is_offset)),
}
