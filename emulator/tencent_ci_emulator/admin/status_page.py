"""The status page: buckets, jobs with states and times, and their results to listen to."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from aiohttp import web

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database, PageQuery
from tencent_ci_emulator.http.xml import SERVICE_ZONE, parse, text_of
from tencent_ci_emulator.jobs.batch_inputs import key_of
from tencent_ci_emulator.jobs.job_output import METHOD_HEADER
from tencent_ci_emulator.jobs.job_store import StoredJob
from tencent_ci_emulator.jobs.queues import Queues
from tencent_ci_emulator.jobs.states import CANCEL, STATES
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.object_store import ObjectStore

_JOBS_SHOWN = 50
_OBJECTS_SHOWN = 50
# Where a job names what it reads besides its input object: the fragments of Concat, sound to be mixed in, and
# a recording that is given by its address
_FURTHER_INPUTS = ("Operation//ConcatFragment/Url", "Operation//AudioSource", "Input/Url")
# No other type is ever sent to a browser: a stored page or picture must not run in this origin
_MEDIA_TYPES = {
    "aac": "audio/aac",
    "amr": "audio/amr",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "wav": "audio/wav",
    "webm": "video/webm",
}
_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "status_page.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_PAGE_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; media-src 'self'; img-src data:;"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_MEDIA_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; media-src 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class StatusPage:
    """Shows buckets, queues, jobs and objects; changes nothing."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        clock: Clock,
        buckets: Buckets,
        queues: Queues,
        objects: ObjectStore,
    ) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        self._buckets = buckets
        self._queues = queues
        self._objects = objects
        environment = jinja2.Environment(
            autoescape=True, loader=jinja2.FileSystemLoader(_FOLDER), trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {"date": lambda seconds: f"{_local(seconds):%Y-%m-%d}"}
        environment.filters |= {"clock": lambda seconds: f"{_local(seconds):%H:%M:%S}"}
        self._template = environment.get_template("status_page.html")

    def serve_page(self) -> web.Response:
        """Return the page."""
        buckets = [self._bucket(bucket) for bucket in self._buckets.names()]
        text = self._template.render(
            style=_STYLE,
            region=self._config.region,
            now=self._clock.now(),
            states=list(STATES),
            buckets=buckets,
            paid_jobs=sum(bucket["paid_jobs"] for bucket in buckets),
            queues=self._busy_queues(),
            address=_address,
            is_playable=self._is_playable,
            inputs_of=_inputs_of,
            result_of=self._result_of,
        )
        return web.Response(body=text.encode(errors="replace"), headers=_PAGE_HEADERS)

    def serve_object(self, path: str) -> web.StreamResponse:
        """Return the object ``<bucket>/<key>``: the browser plays sound and film, and saves anything else."""
        bucket, _, key = path.partition("/")
        stored = self._objects.get(bucket, key) if key else None
        if stored is None:
            return web.Response(status=404, text="there is no such object\n", headers=_MEDIA_HEADERS)
        kind = _MEDIA_TYPES.get(_extension(key))
        headers = {**_MEDIA_HEADERS, "Content-Type": kind or "application/octet-stream"}
        if kind is None:
            headers["Content-Disposition"] = "attachment"
        return web.FileResponse(stored.path, headers=headers)

    def _bucket(self, bucket: str) -> dict[str, Any]:
        query = "SELECT COUNT(*) AS count, COALESCE(SUM(size), 0) AS size FROM objects WHERE bucket = ?"
        totals = self._database.rows(query, (bucket,))[0]
        unpaid = None if self._config.observed.cancelled_job_billed else CANCEL
        paid_jobs = self._database.count("jobs", {"bucket": bucket, "state <>": unpaid})
        query = "SELECT key, size, modified FROM objects WHERE bucket = ? ORDER BY modified DESC LIMIT ?"
        newest = [dict(row) for row in self._database.rows(query, (bucket, _OBJECTS_SHOWN))]
        query_of_jobs = PageQuery({"bucket": bucket}, size=_JOBS_SHOWN)
        jobs, next_token = self._database.page(StoredJob, "jobs", query_of_jobs)
        paid_for_input = {
            pair: self._database.count(
                "jobs", {"bucket": bucket, "tag": pair[0], "input_object": pair[1], "state <>": unpaid}
            )
            for pair in {(job.tag, job.input_object) for job in jobs if job.input_object}
        }
        return {
            "name": bucket,
            **dict(totals),
            "paid_jobs": paid_jobs,
            "paid_for_input": paid_for_input,
            "jobs": jobs,
            "has_more_jobs": next_token is not None,
            "objects": [row | {"key": row["key"].decode(errors="surrogateescape")} for row in newest],
        }

    def _busy_queues(self) -> list[dict[str, Any]]:
        query = "SELECT bucket, queue_id, state, COUNT(*) AS n FROM jobs GROUP BY bucket, queue_id, state"
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for row in self._database.rows(query):
            counts.setdefault((row["bucket"], row["queue_id"]), {})[row["state"]] = row["n"]
        states = {queue_id: queue.state for _, queue_id in counts if (queue := self._queues.get(queue_id))}
        return [
            {"id": queue_id, "bucket": bucket, "state": states.get(queue_id, "-"), "counts": count}
            for (bucket, queue_id), count in counts.items()
        ]

    def _result_of(self, job: StoredJob) -> dict[str, Any]:
        bucket = text_of(parse(job.request), "Operation/Output/Bucket") or job.bucket
        keys = json.loads(job.result_keys or "[]")
        stored = [self._objects.get(bucket, key) for key in keys]
        methods = sorted({one.headers.get(METHOD_HEADER, "") for one in stored if one is not None})
        return {"bucket": bucket, "object_keys": keys, "methods": methods}

    def _is_playable(self, bucket: str, key: str) -> bool:
        return _extension(key) in _MEDIA_TYPES and self._objects.get(bucket, key) is not None


def _inputs_of(job: StoredJob) -> list[str]:
    """Return the keys of all objects that a job reads. An address loses its query: it may be a signature."""
    request = parse(job.request)
    named = [element.text or "" for path in _FURTHER_INPUTS for element in request.iterfind(path)]
    further = [key.removeprefix("/") for text in named if (key := key_of(text.strip(), job.bucket))]
    return list(dict.fromkeys(key for key in (job.input_object, *further) if key))


def _extension(key: str) -> str:
    return key.rpartition(".")[2].lower()


def _address(bucket: str, key: str) -> str:
    """Return an absolute path, percent-encoded as bytes; dots too, or a browser would fold ``/../``."""
    return f"/_emulator/objects/{quote(bucket)}/{quote(key.encode(errors='surrogateescape'), safe='')}"


def _local(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, SERVICE_ZONE)
