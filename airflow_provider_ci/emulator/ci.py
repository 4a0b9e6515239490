"""The CI job calls: submit (460/84794), describe (460/84765), list (460/84766), cancel (460/82393)."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lxml import etree

from airflow_provider_ci.emulator.clock import Clock
from airflow_provider_ci.emulator.config import EmulatorConfig
from airflow_provider_ci.emulator.engine import JobEngine
from airflow_provider_ci.emulator.errors import ServiceFault, invalid_argument
from airflow_provider_ci.emulator.incoming import Incoming
from airflow_provider_ci.emulator.jobs import BadTokenError, JobFilter, JobStore, StoredJob
from airflow_provider_ci.protocol.models import (
    STATES,
    VOICE_SEPARATE,
    Operation,
    Output,
    VoiceSeparateRequest,
)
from airflow_provider_ci.protocol.validation import problems
from airflow_provider_ci.protocol.xml import (
    XMLError,
    parse_document,
    read,
    to_bytes,
    to_element,
)

MAX_IDS = 10
MAX_PAGE = 100
_DEFAULT_PAGE = 10

# 1045/49203
_TAGS = frozenset(
    [
        "Transcode",
        "Animation",
        "Snapshot",
        "SmartCover",
        "Concat",
        "VoiceSeparate",
        "VideoMontage",
        "SDRtoHDR",
        "VideoProcess",
        "SuperResolution",
        "Segment",
        "DigitalWatermark",
        "ExtractDigitalWatermark",
        "VideoTag",
        "MediaInfo",
        "StreamExtract",
        "QualityEstimate",
        "Tts",
        "NoiseReduction",
    ]
)
_QUERY_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)[+ ](\d\d):?(\d\d)")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and XML body of a good answer."""

    status: int = 200
    body: bytes = b""


class CIService:
    """Answers CI calls; every call is for one bucket."""

    def __init__(self, config: EmulatorConfig, jobs: JobStore, engine: JobEngine, clock: Clock) -> None:
        self._config = config
        self._jobs = jobs
        self._engine = engine
        self._clock = clock

    def handle(self, request: Incoming, body: bytes) -> Answer:
        """Answer an authenticated request.

        :raises ServiceFault: it cannot be served.
        """
        bucket = self._bucket(request)
        call = self._call(request)
        return call(bucket, request, body)

    def _bucket(self, request: Incoming) -> str:
        if request.service_only:
            raise ServiceFault(404, "InvalidUrl", "this address of the regional host is not served")
        bucket = request.bucket or self._config.default_bucket
        if bucket not in self._config.buckets:
            raise ServiceFault(400, "InvalidHost", f"bucket {bucket} does not exist here")
        if request.region not in (None, self._config.region):
            raise ServiceFault(400, "InvalidHost", f"bucket {bucket} is in region {self._config.region}")
        return bucket

    def _call(self, request: Incoming) -> Callable[[str, Incoming, bytes], Answer]:
        if request.path == "/jobs":
            calls = {"POST": self._submit, "GET": self._list}
        elif request.path.startswith("/jobs/"):
            calls = {"GET": self._describe}
            if request.has_flag("cancel"):
                calls["PUT"] = self._cancel
        else:
            calls = {}
        if request.method not in calls:
            raise ServiceFault(
                404, "InvalidUrl", f"{request.method} {request.path} is not a call of this service"
            )
        return calls[request.method]

    def _submit(self, bucket: str, request: Incoming, body: bytes) -> Answer:
        _check_md5(request.header("content-md5"), body)
        job = self._checked(_request(body))
        queue_id = job.queue_id or default_queue_id(bucket)
        stored = self._jobs.add(bucket, self._config.region, queue_id, job, self._clock.now())
        self._engine.submit(stored)
        return _answer([stored])

    def _checked(self, job: VoiceSeparateRequest) -> VoiceSeparateRequest:
        found = problems(job)
        if found:
            raise invalid_argument("; ".join(str(problem) for problem in found))
        operation = job.operation or Operation()
        output = operation.output or Output()
        if operation.template_id is not None:
            raise ServiceFault(400, "TemplateNotFound", f"template {operation.template_id} does not exist")
        if output.bucket not in self._config.buckets:
            known = ", ".join(self._config.buckets)
            raise invalid_argument(f"Operation.Output.Bucket is {output.bucket!r}, buckets here: {known}")
        if output.region != self._config.region:
            raise invalid_argument(
                f"Operation.Output.Region is {output.region!r}, but the bucket is in {self._config.region}"
            )
        return job

    def _describe(self, bucket: str, request: Incoming, _body: bytes) -> Answer:
        asked = _ids(request.path)
        found = self._jobs.find(bucket, asked)
        return _answer(list(found.values()), missing=[job_id for job_id in asked if job_id not in found])

    def _list(self, bucket: str, request: Incoming, _body: bytes) -> Answer:
        params = request.given_params
        wanted = _filter(params)
        if params.get("workflowid") or params.get("inventorytriggerjobid"):
            return _answer([], token="")  # no job here comes from a workflow or a batch
        try:
            jobs, token = self._jobs.page(bucket, wanted)
        except BadTokenError:
            raise invalid_argument("nextToken is not one that this service has given") from None
        return _answer(jobs, token=token or "")

    def _cancel(self, bucket: str, request: Incoming, _body: bytes) -> Answer:
        refused = self._jobs.cancel(bucket, _ids(request.path), self._clock.now())
        if refused and not self._config.lenient_cancel:
            raise invalid_argument(f"The job provided can not be modified: {', '.join(refused)}")
        return Answer()


def default_queue_id(bucket: str) -> str:
    """Return the id of a bucket's own queue: always the same, as with the real service."""
    return "p" + hashlib.md5(bucket.encode(), usedforsecurity=False).hexdigest()


def _check_md5(given: str | None, body: bytes) -> None:
    actual = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    if given is not None and given.strip() != actual:
        raise ServiceFault(400, "InvalidContent", "Content-MD5 does not match the body")


def _request(body: bytes) -> VoiceSeparateRequest:
    if not body.strip():
        raise ServiceFault(400, "MissingContent", "the request has no body")
    try:
        root = parse_document(body)
    except XMLError as error:
        raise ServiceFault(400, "InvalidContent", str(error)) from None
    if root.tag != "Request":
        raise ServiceFault(400, "InvalidContent", "the root element must be Request")
    for name in ("Tag", "Input", "Operation"):
        if len(root.findall(name)) > 1:
            raise invalid_argument(f"{name} is given more than once")
    try:
        request = read(VoiceSeparateRequest, root, strict=True)
    except XMLError as error:
        raise invalid_argument(str(error)) from None
    # The model has a default for its users' sake; on the wire the tag must be there
    return replace(request, tag=root.findtext("Tag") or None)


def _ids(path: str) -> list[str]:
    ids = list(dict.fromkeys(part for part in path.removeprefix("/jobs/").split(",") if part))
    if not ids:
        raise ServiceFault(404, "InvalidUrl", "the job id is missing")
    if len(ids) > MAX_IDS:
        raise invalid_argument(f"{len(ids)} job ids are given, at most {MAX_IDS} are allowed")
    return ids


def _filter(params: dict[str, str]) -> JobFilter:
    tag = params.get("tag")
    if tag not in _TAGS:
        raise invalid_argument("tag is missing" if tag is None else f"tag {tag!r} is unknown")
    order = params.get("orderbytime", "Desc")
    if order not in ("Asc", "Desc"):
        raise invalid_argument(f"orderByTime is {order!r}, allowed: Asc, Desc")
    size = params.get("size", str(_DEFAULT_PAGE))
    if not (size.isascii() and size.isdigit() and 1 <= int(size) <= MAX_PAGE):
        raise invalid_argument(f"size is {size!r}, allowed: 1 to {MAX_PAGE}")
    return JobFilter(
        tag=tag or VOICE_SEPARATE,
        queue_id=params.get("queueid"),
        input_object=params.get("inputobject"),
        states=_states(params.get("states", "All")),
        created_from=_time(params, "startCreationTime"),
        created_to=_time(params, "endCreationTime"),
        ascending=order == "Asc",
        size=int(size),
        token=params.get("nexttoken"),
    )


def _states(text: str) -> tuple[str, ...]:
    states = tuple(part for part in text.split(",") if part)
    unknown = [state for state in states if state not in (*STATES, "All")]
    if unknown:
        raise invalid_argument(f"states holds {', '.join(unknown)}, allowed: All, {', '.join(STATES)}")
    return () if "All" in states else states


def _time(params: dict[str, str], name: str) -> float | None:
    text = params.get(name.lower())
    if text is None:
        return None
    # A plus sign that was not percent-encoded arrives as a blank
    match = _QUERY_TIME.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        return datetime.fromisoformat(f"{match[1]}+{match[2]}:{match[3]}").timestamp()
    except ValueError:
        raise invalid_argument(
            f"{name} is {text!r}, allowed: for instance 2001-01-01T00:00:00+0800"
        ) from None


def _answer(jobs: list[StoredJob], *, missing: list[str] | None = None, token: str | None = None) -> Answer:
    root = etree.Element("Response")
    root.extend(_detail(job) for job in jobs)
    for job_id in missing or ():
        etree.SubElement(root, "NonExistJobIds").text = job_id
    if token is not None:
        etree.SubElement(root, "NextToken").text = token
    return Answer(body=to_bytes(root))


def _detail(job: StoredJob) -> etree._Element:
    detail = to_element(job.as_job(), "JobsDetail")
    place = [child.tag for child in detail].index("CreationTime")
    for name in ("StartTime", "EndTime"):
        place += 1
        if detail.find(name) is None:
            unknown = etree.Element(name)
            unknown.text = "-"
            detail.insert(place, unknown)
    return detail
