"""What the asset events of a task say of the results that its outlets stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_provider_ci.assets.cos import SCHEME, create_asset, object_uri, sanitize_uri

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.results import JobResult
    from airflow_provider_ci.submission.tracking import Log


class ResultEvent(TypedDict):
    """``extra`` of the event of one result. ``md5`` is the service's, in hex; ``size`` in bytes is known only
    where it is the job's only result. ``stem`` is ``voice``, ``background``, ``bass`` or ``drums``.
    """

    job_id: str | None
    state: str
    stem: str | None
    bucket: str | None
    region: str | None
    object: str
    md5: str | None
    size: int | None


def outlet_problems(outlets: Iterable[Any], *, waits: bool) -> list[str]:
    """Return what is wrong with the outlets of a task that submits, before it does.

    :param waits: whether the task ends only after the job: Airflow announces outlets whenever a task has
        succeeded, so one that does not wait would announce files that are not there yet.
    """
    broken = []
    for outlet in outlets:
        if not waits and (is_alias(outlet) or _cos_uri(outlet)):
            broken.append(
                f"outlets has {_name(outlet)!r} although the task does not wait for its job, allowed: results"
                " as outlets of a task that waits (wait_for_completion=True, or a TencentCIJobSensor)"
            )
        elif "${" in unquote(_cos_uri(outlet) or ""):
            broken.append(
                f"outlets has {_name(outlet)!r}, allowed: keys without placeholders; an AssetAlias takes"
                " results whose keys are not known before"
            )
    return broken


def add_results_to_events(context: Context, outlets: Iterable[Any], jobs: Iterable[Job], log: Log) -> None:
    """Say in the events of a task that succeeded what its jobs have made. It never fails.

    An outlet that is one result gets that :class:`ResultEvent`, an alias all results as assets of their own,
    and any other asset the job ids (``job_ids``).
    """
    try:
        found = list(jobs)
        results = dict(each for job in found for each in _result_events(job))
        summary = {"job_ids": [job.job_id for job in found], "state": "Success"}
        add_to_events(context, outlets, summary, log, results)
    except Exception as error:  # the results are there and paid for: the task is a success all the same
        log.warning("The events of this task's outlets say nothing of its results: %s", error)


def add_to_events(
    context: Context,
    outlets: Iterable[Any],
    summary: Mapping[str, Any],
    log: Log,
    results: Mapping[str, ResultEvent] | None = None,
) -> None:
    """Give each outlet's event its ``extra``: that of the result that it is, or ``summary``. It never fails.

    :param results: by URI; ``None``: they are not known one by one.
    """
    events: Any = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets:
        try:
            if is_alias(outlet):
                for event in (results or {}).values():
                    asset = create_asset(bucket=str(event["bucket"]), key=event["object"])
                    events[outlet].add(asset, extra=dict(event))
                continue
            uri = _cos_uri(outlet) or ""
            events[outlet].extra.update((results or {}).get(uri, summary))
            # a folder of results is fine
            if uri and results is not None and not any(f"{each}/".startswith(f"{uri}/") for each in results):
                first = next(iter(results), "none at all")
                log.warning("Outlet %s is none of the %d results: %s", uri, len(results), first)
        except Exception as error:
            log.warning("The event of outlet %r lacks details: %s", _name(outlet), error)


def is_alias(outlet: Any) -> bool:
    """Tell whether an outlet is an ``AssetAlias``."""
    from airflow.providers.common.compat.sdk import AssetAlias

    return isinstance(outlet, AssetAlias)


def _result_events(job: Job) -> Iterator[tuple[str, ResultEvent]]:
    """Yield each result's URI and what its event says."""
    from airflow_provider_ci.protocol.results import job_result

    result = job_result(job)
    size = only_result_size(job, result)
    stems: list[tuple[str | None, Any]] = [*result["outputs"].items()]
    for stem, found in [*stems, *((None, other) for other in result["other_objects"])]:
        event: ResultEvent = {
            "job_id": result["job_id"],
            "state": result["state"],
            "stem": stem,
            "bucket": found["bucket"],
            "region": found["region"],
            "object": found["object"],
            "md5": found["md5"],
            "size": size,
        }
        yield object_uri(str(found["bucket"]), found["object"]), event


def only_result_size(job: Job, result: JobResult) -> int | None:
    """Return the bytes of a job's only result. Which of several the service's one size is of, is unknown."""
    info = job.operation.media_info if job.operation else None
    if len(result["outputs"]) + len(result["other_objects"]) != 1 or not info or not info.format:
        return None
    return info.format.size


def _cos_uri(outlet: Any) -> str | None:
    """Return the URI of an outlet that is an object in COS, in the form in which Airflow compares it."""
    uri = getattr(outlet, "uri", None)
    if not isinstance(uri, str) or not uri.startswith(f"{SCHEME}://"):
        return None
    try:
        return urlunsplit(sanitize_uri(urlsplit(uri)))
    except ValueError:  # Airflow 2.11 only warns of such a URI; it is none of a result
        return uri


def _name(outlet: Any) -> str:
    return str(getattr(outlet, "uri", None) or getattr(outlet, "name", outlet))
