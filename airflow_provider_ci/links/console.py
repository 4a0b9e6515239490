"""Links from a task to Tencent's console: the bucket's page with its jobs, and the folder of the results.

Operator and sensor push the finished URLs as soon as they know them, each under the XCom key under which
Airflow 3 looks for it. So the links are there while a task waits, deferred or not, and Airflow 2.11 finds
them under the same keys. They lead to the console, where one logs in: no URL is signed.

Addresses as public pages and code use them; the console has no documented address of a single job:
``/ci/bucket?bucket=…&region=…`` and ``/cos/bucket?bucket=…&region=…&path=%252Ffolder%252F`` (escaped twice).
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.providers.common.compat.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_ci.protocol.results import JobResult
    from airflow_provider_ci.protocol.wire import Endpoint

_CONSOLE = "https://console.cloud.tencent.com"


class _ConsoleLink(BaseOperatorLink):
    """A link whose URL the task has pushed to XCom.

    Airflow 3 asks for it in the task's process when a try ends, to push it (again); Airflow 2.11 in the web
    server, when it is looked at.
    """

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL, or ``""`` as long as there is none."""
        if isinstance(operator, LinksMixin):
            url = operator.pushed_link(self.xcom_key)
            if url is not None:
                return url
        elif _is_mapped(operator):  # it failed before there was an operator that could push anything
            return ""
        from airflow.providers.common.compat.sdk import XCom

        stored = XCom.get_value(key=self.xcom_key, ti_key=ti_key)
        return stored if isinstance(stored, str) else ""


def _is_mapped(operator: Any) -> bool:
    mapped = getattr(operator, "operator_class", None)
    return isinstance(mapped, type) and issubclass(mapped, LinksMixin)


class TencentCIJobsLink(_ConsoleLink):
    """The page of the input's bucket in the console of CI, which lists its jobs."""

    name = "Cloud Infinite jobs"
    xcom_key = "_link_TencentCIJobsLink"


class TencentCIResultsLink(_ConsoleLink):
    """The folder of the results in the console of COS: the deepest one that holds all of them."""

    name = "Separated files"
    xcom_key = "_link_TencentCIResultsLink"


class LinksMixin:
    """A task with links, which remembers what it has pushed. For when a link asks for an XCom that is not
    there, Airflow 3 logs an error, below the one that the task failed with.
    """

    _links: Mapping[str, str] = {}
    _was_deferred = False

    def pushed_link(self, key: str) -> str | None:
        """Return the URL that this process has pushed, or ``""``.

        ``None``: an earlier process may have pushed one, as the task was deferred. Then there is an XCom:
        Airflow pushes each link, if only as ``""``, also when it defers a task.
        """
        return self._links.get(key, None if self._was_deferred else "")

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral."""
        self._was_deferred = True
        resume: Any = super()
        return resume.resume_execution(next_method, next_kwargs, context)

    def push_links(self, context: Context, results: Sequence[JobResult]) -> None:
        """Push the URLs that follow from what is known of the task's jobs, also that there is none."""
        self._push_urls(context, _urls_of(results))

    def remember_links(self, results: Sequence[JobResult]) -> None:
        """Keep the URLs for when Airflow 3 asks for them at the end of this process, and stores them."""
        self._links = {**self._links, **_urls_of(results)}

    def push_bucket_link(self, context: Context, endpoint: Endpoint) -> None:
        """Push the URL of a bucket's page, for a task that has no result of one job."""
        place = {"bucket": endpoint.bucket, "region": endpoint.region}
        self._push_urls(context, {TencentCIJobsLink.xcom_key: _bucket_url(place)})

    def _push_urls(self, context: Context, urls: Mapping[str, str]) -> None:
        self._links = {**self._links, **urls}
        for key, url in urls.items():
            context["ti"].xcom_push(key=key, value=url)


def _urls_of(results: Sequence[JobResult]) -> dict[str, str]:
    urls = {
        TencentCIJobsLink.xcom_key: jobs_url(results),
        TencentCIResultsLink.xcom_key: results_url(results),
    }
    return {key: url or "" for key, url in urls.items()}


def jobs_url(results: Sequence[JobResult]) -> str | None:
    """Return the page of the first job's bucket."""
    place = next((place for result in results if (place := _place(result["input"]))), None)
    return _bucket_url(place) if place else None


def _bucket_url(place: Mapping[str, str | None]) -> str:
    return f"{_CONSOLE}/ci/bucket?{urlencode(place)}"


def results_url(results: Sequence[JobResult]) -> str | None:
    """Return the folder of the results; of results in several buckets only the first one's count."""
    objects = [
        (place, str(found["object"]))
        for result in results
        for found in (*result["outputs"].values(), *result["other_objects"])
        if (place := _place(found))
    ]
    if not objects:
        return None
    place = objects[0][0]
    common = posixpath.commonprefix([key for bucket, key in objects if bucket == place])
    folder = common[: common.rfind("/") + 1]
    path = {"path": quote(f"/{folder}", safe="")} if folder else {}
    return f"{_CONSOLE}/cos/bucket?{urlencode(place | path)}"


def _place(described: Mapping[str, Any]) -> dict[str, str] | None:
    bucket, region = described["bucket"], described["region"]
    return {"bucket": bucket, "region": region} if bucket and region else None
