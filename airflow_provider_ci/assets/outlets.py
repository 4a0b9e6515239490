"""Checks the outlets of a task, and adds the details of its results to their asset events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import unquote, urlsplit, urlunsplit

from airflow_provider_ci.assets.cos import SCHEME, create_asset, object_uri, sanitize_uri
from airflow_provider_ci.protocol.tree import find_text

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.jobs import Job
    from airflow_provider_ci.protocol.results import JobResult, ResultObject
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
    """Return what is wrong with the outlets of a task that is about to submit a job.

    :param waits: whether the task waits for the job. Airflow emits an event for each outlet when a task has
        succeeded: without waiting, for files that do not exist yet.
    """
    problems = []
    for outlet in outlets:
        if not waits and (is_alias(outlet) or _cos_uri(outlet)):
            problems.append(
                f"outlets has {_name(outlet)!r} although the task does not wait for its job, allowed: results"
                " as outlets of a task that waits (wait_for_completion=True, or a TencentCIJobSensor)"
            )
        elif "${" in unquote(_cos_uri(outlet) or ""):
            problems.append(
                f"outlets has {_name(outlet)!r}, allowed: keys without placeholders; for results whose keys"
                " are not known before, use an AssetAlias"
            )
    return problems


def add_results_to_events(context: Context, outlets: Iterable[Any], jobs: Iterable[Job], log: Log) -> None:
    """Add the results of a successful task's jobs to its asset events. It never raises: the results exist
    and are paid for, so the task is a success.

    The event of an outlet that is a result gets its :class:`ResultEvent`. An alias gets an asset for each
    result. The event of any other outlet gets the job ids (``job_ids``).
    """
    try:
        jobs = list(jobs)
        results = dict(pair for job in jobs for pair in _result_events(job))
        summary = {"job_ids": [job.job_id for job in jobs], "state": "Success"}
    except Exception as error:
        log.warning("The asset events have no details of the results: %s", error)
        return
    add_to_events(context, outlets, summary, log, results)


def add_to_events(
    context: Context,
    outlets: Iterable[Any],
    summary: Mapping[str, Any],
    log: Log,
    results: Mapping[str, ResultEvent] | None = None,
) -> None:
    """Add the matching result, or ``summary``, to the ``extra`` of each outlet's event. It never raises.

    :param results: by URI; ``None`` if the single results are not known.
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
            if uri and results is not None and not _is_or_contains_result(uri, results):
                first = next(iter(results), "there are no results")
                log.warning(
                    "Outlet %s is not one of the %d results. Correct its key: %s", uri, len(results), first
                )
        except Exception as error:
            log.warning("The event of outlet %r lacks details: %s", _name(outlet), error)


def add_manifest_to_events(
    context: Context, outlets: Iterable[Any], manifest: ResultObject, summary: Mapping[str, Any], log: Log
) -> None:
    """Add where the manifest of a successful bulk task is, and ``summary``, to each outlet's event. It never
    raises.

    An alias gets the manifest as its asset. So there is one event for each outlet, however many results
    there are.
    """
    events: Any = context.get("outlet_events")
    if events is None:
        return
    extra = {**summary, **manifest}  # flat, because Airflow 2.11 hashes its values
    for outlet in outlets:
        try:
            if is_alias(outlet):
                asset = create_asset(bucket=str(manifest["bucket"]), key=manifest["object"])
                events[outlet].add(asset, extra=extra)
            else:
                events[outlet].extra.update(extra)
        except Exception as error:
            log.warning("The event of outlet %r lacks details: %s", _name(outlet), error)


def is_alias(outlet: Any) -> bool:
    """Tell whether an outlet is an ``AssetAlias``."""
    from airflow.providers.common.compat.sdk import AssetAlias

    return isinstance(outlet, AssetAlias)


def _is_or_contains_result(uri: str, results: Iterable[str]) -> bool:
    return any(f"{result}/".startswith(f"{uri}/") for result in results)


def _result_events(job: Job) -> Iterator[tuple[str, ResultEvent]]:
    """Yield each result's URI and the ``extra`` of its event."""
    from airflow_provider_ci.protocol.results import job_result

    result = job_result(job, max_bytes=None)
    size = only_result_size(job, result)
    written: list[tuple[str | None, Any]] = [
        *result["outputs"].items(),
        *((None, other) for other in result["other_objects"]),
    ]
    for stem, found in written:
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
    """Return the size of a job's only result in bytes. For several results the service reports one size
    only, which may be that of any.
    """
    size = find_text(job.operation, "MediaInfo.Format.Size") or ""
    is_only_one = len(result["outputs"]) + len(result["other_objects"]) == 1
    return int(size) if is_only_one and size.isdecimal() else None


def _cos_uri(outlet: Any) -> str | None:
    """Return the URI of an outlet that is an object in COS, in the form in which Airflow compares it."""
    uri = getattr(outlet, "uri", None)
    if not isinstance(uri, str) or not uri.startswith(f"{SCHEME}://"):
        return None
    try:
        return urlunsplit(sanitize_uri(urlsplit(uri)))
    except ValueError:  # not the URI of a result; Airflow 2.11 only warns
        return uri


def _name(outlet: Any) -> str:
    return str(getattr(outlet, "uri", None) or getattr(outlet, "name", outlet))
