"""The status page: buckets, jobs with states and times, and their results to listen to."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime
from html import escape
from typing import Any
from urllib.parse import quote

from aiohttp import web

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.xml import SERVICE_ZONE, parse, text_of
from tencent_ci_emulator.jobs.job_store import STATES, JobFilter, JobStore, StoredJob
from tencent_ci_emulator.jobs.queues import QueueStore
from tencent_ci_emulator.jobs.work import METHOD_HEADER
from tencent_ci_emulator.objects.object_store import ObjectStore

_JOBS_SHOWN = 50
_OBJECTS_SHOWN = 50

# Nothing else is ever named to a browser: a stored page or picture must not run in this origin
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

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1em; color: #222 }
h1 { font-size: 1.4em } h2 { font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .4em .7em; border-bottom: 1px solid #ddd }
th { font-weight: 600; background: #f4f5f7 } code { font-size: .88em; overflow-wrap: anywhere }
audio { height: 2em; width: 14em; display: block; margin: .2em 0 .5em }
.id { display: inline-block; width: 17ch } .time { white-space: nowrap }
.state { font-weight: 600 } .Success { color: #14701c } .Failed { color: #b3140e } .Running { color: #0b57b0 }
.muted { color: #666 }
"""
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
    """Shows what the stores hold; changes nothing."""

    def __init__(
        self,
        config: EmulatorConfig,
        database: Database,
        jobs: JobStore,
        queues: QueueStore,
        objects: ObjectStore,
        clock: Clock,
    ) -> None:
        self._config = config
        self._database = database
        self._jobs = jobs
        self._queues = queues
        self._objects = objects
        self._clock = clock

    def document(self) -> web.Response:
        """Return the page."""
        return web.Response(body="".join(self._parts()).encode(errors="replace"), headers=_PAGE_HEADERS)

    def media(self, path: str) -> web.StreamResponse:
        """Return the content of ``<bucket>/<key>``, to be played, or else to be saved."""
        bucket, _, key = path.partition("/")
        stored = self._objects.get(bucket, key) if key else None
        if stored is None:
            return web.Response(status=404, text="there is no such object\n", headers=_MEDIA_HEADERS)
        kind = _MEDIA_TYPES.get(key.rpartition(".")[2].lower())
        headers = {**_MEDIA_HEADERS, "Content-Type": kind or "application/octet-stream"}
        if kind is None:
            headers["Content-Disposition"] = "attachment"
        return web.FileResponse(stored.path, headers=headers)

    def _parts(self) -> Iterator[str]:
        yield (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"<title>airflow-ci-emulator</title><style>{_STYLE}</style></head><body>"
            "<h1>airflow-ci-emulator</h1>"
            f'<p class="muted">Region {escape(self._config.region)}. Now it is'
            f" {_time(self._clock.now()).replace('<br>', ' ')}, UTC+8 as the service prints times."
            " Load the page again to see changes.</p>"
        )
        yield from self._buckets()
        yield from self._busy_queues()
        for bucket in self._config.buckets:
            yield from self._jobs_of(bucket)
        for bucket in self._config.buckets:
            yield from self._objects_of(bucket)
        yield "</body></html>"

    def _buckets(self) -> Iterator[str]:
        rows = self._database.rows(
            "SELECT bucket, COUNT(*) AS n, SUM(size) AS size FROM objects GROUP BY bucket"
        )
        held = {row["bucket"]: row for row in rows}
        yield "<h2>Buckets</h2>"
        yield _head("Bucket", "Objects", "Bytes")
        for bucket in self._config.buckets:
            row = held.get(bucket)
            count, size = (row["n"], row["size"]) if row else (0, 0)
            yield _row(_code(bucket), f"{count:,}", f"{size:,}")
        yield "</table>"

    def _busy_queues(self) -> Iterator[str]:
        query = "SELECT bucket, queue_id, state, COUNT(*) AS n FROM jobs GROUP BY bucket, queue_id, state"
        counts: dict[tuple[str, str], dict[str, int]] = {}
        for row in self._database.rows(query):
            counts.setdefault((row["bucket"], row["queue_id"]), {})[row["state"]] = row["n"]
        yield "<h2>Queues with jobs</h2>"
        if not counts:
            yield '<p class="muted">None yet.</p>'
            return
        yield _head("Queue", "Bucket", "Is", *STATES)
        for (bucket, queue_id), states in counts.items():
            queue = self._queues.get(queue_id)
            cells = [_code(queue_id), _code(bucket), escape(queue.state) if queue else "-"]
            yield _row(*cells, *(str(states.get(state, 0)) for state in STATES))
        yield "</table>"

    def _jobs_of(self, bucket: str) -> Iterator[str]:
        jobs, more = self._jobs.page(bucket, JobFilter(size=_JOBS_SHOWN))
        yield f"<h2>Jobs of {_code(bucket)}</h2>"
        if not jobs:
            yield '<p class="muted">None yet.</p>'
            return
        yield _head("Job", "State", "Created", "Started", "Ended", "Input", "Results")
        for job in jobs:
            yield self._job(job)
        yield "</table>"
        if more:
            yield f'<p class="muted">The newest {_JOBS_SHOWN} are shown.</p>'

    def _job(self, job: StoredJob) -> str:
        state = f'<span class="state {escape(job.state)}">{escape(job.state)}</span>'
        if job.state == "Running":
            state += f" {job.progress} %"
        if job.state == "Failed":
            state += f"<br>{escape(job.code)}: {escape(job.message)}"
        times = [_time(moment) for moment in (job.created, job.started, job.ended)]
        job_id = f'<span class="id">{_code(job.id)}</span>'
        return _row(job_id, state, *times, self._player(job.bucket, job.input_object), self._results(job))

    def _results(self, job: StoredJob) -> str:
        written = parse(job.result).find("MediaResult/OutputFile") if job.result else None
        if written is None:
            return ""
        bucket = text_of(written, "Bucket") or job.bucket
        keys = [name.text or "" for name in written.iterfind("ObjectName")]
        results = [self._objects.get(bucket, key) for key in keys]
        methods = {one.headers.get(METHOD_HEADER, "") for one in results if one is not None}
        said = "".join(f'<span class="muted">{escape(method)}</span>' for method in sorted(methods))
        return "".join(self._player(bucket, key) for key in keys) + said

    def _objects_of(self, bucket: str) -> Iterator[str]:
        query = "SELECT key, size, modified FROM objects WHERE bucket = ? ORDER BY modified DESC LIMIT ?"
        rows = self._database.rows(query, (bucket, _OBJECTS_SHOWN))
        yield f"<h2>Newest objects of {_code(bucket)}</h2>"
        if not rows:
            yield '<p class="muted">None yet.</p>'
            return
        yield _head("Object", "Bytes", "Modified")
        for row in rows:
            key = row["key"].decode(errors="surrogateescape")
            yield _row(_link(bucket, key), f"{row['size']:,}", _time(row["modified"]))
        yield "</table>"

    def _player(self, bucket: str, key: str) -> str:
        if key.rpartition(".")[2].lower() not in _MEDIA_TYPES or self._objects.get(bucket, key) is None:
            return _code(key)
        return f'{_link(bucket, key)}<audio controls preload="none" src="{_address(bucket, key)}"></audio>'


def _head(*names: str) -> str:
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>"


def _row(*cells: str) -> str:
    """A row of cells that are markup already."""
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _link(bucket: str, key: str) -> str:
    return f'<a href="{_address(bucket, key)}">{_code(key)}</a>'


def _address(bucket: str, key: str) -> str:
    """Absolute in its path, percent-encoded as bytes; dots too, or a browser would fold ``/../``."""
    escaped = quote(key.encode(errors="surrogateescape"), safe="")
    return escape(f"/_emulator/objects/{quote(bucket)}/{escaped}")


def _time(seconds: Any) -> str:
    if seconds is None:
        return "-"
    moment = datetime.fromtimestamp(seconds, SERVICE_ZONE)
    return f'<span class="time">{moment:%Y-%m-%d}<br>{moment:%H:%M:%S}</span>'
