"""Links from a task to Tencent's console: the bucket's page with its jobs, and the folder of the results.

Operators and the sensor push the URLs as soon as they know them, under the XCom keys under which Airflow 3
looks for them. So the links are there while a task waits, deferred or not; Airflow 2.11 reads the same keys.
They lead to the console, which asks for a login: no URL is signed.

The addresses are those of public pages and code; the console has no documented address of a single job:
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

    Airflow 3 calls ``get_link`` in the task's process when a try ends, and pushes what it returns. Airflow
    2.11 calls it in the web server when somebody looks at the task.
    """

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """Return the URL, or ``""`` as long as there is none."""
        from airflow.providers.common.compat.sdk import MappedOperator, XCom

        links = getattr(operator, "console_links", None)
        if isinstance(links, ConsoleLinks):
            url = links.url(self.xcom_key)
            if url is not None:
                return url
        elif isinstance(operator, MappedOperator) and isinstance(operator.operator_class, type):
            return ""  # the task failed before its operator was made; in a web server, this is no class
        stored = XCom.get_value(key=self.xcom_key, ti_key=ti_key)
        return stored if isinstance(stored, str) else ""


class TencentCIJobsLink(_ConsoleLink):
    """The page of the input's bucket in the console of CI, which lists its jobs."""

    name = "Cloud Infinite jobs"
    xcom_key = "_link_TencentCIJobsLink"


class TencentCIResultsLink(_ConsoleLink):
    """The folder of the results in the console of COS: the deepest one that holds all of them."""

    name = "Separated files"
    xcom_key = "_link_TencentCIResultsLink"


class ConsoleLinks:
    """The links of one task, which remembers in ``console_links`` what this process has pushed. When a link
    asks for an XCom that does not exist, Airflow 3 logs an error, below the one that the task failed with.
    """

    def __init__(self) -> None:
        #: Set this when the task is resumed: then an earlier process has pushed links.
        self.was_deferred = False
        self._urls: dict[str, str] = {}

    def url(self, key: str) -> str | None:
        """Return the URL that this process has pushed, or ``""``.

        ``None``: it has pushed none, but there is an XCom. Airflow pushes each link when it defers a task, if
        only as ``""``.
        """
        return self._urls.get(key, None if self.was_deferred else "")

    def push(self, context: Context, results: Sequence[JobResult]) -> None:
        """Push the URLs that follow from the results of the task's jobs, or ``""`` where none does."""
        self._push(context, _urls_of(results))

    def push_changes(self, context: Context, results: Sequence[JobResult]) -> None:
        """Push all URLs, unless this process has pushed the same ones before."""
        urls = _urls_of(results)
        if any(self._urls.get(key) != url for key, url in urls.items()):
            self._push(context, urls)

    def push_bucket(self, context: Context, endpoint: Endpoint) -> None:
        """Push the URL of a bucket's page, for a task without the result of a single job."""
        bucket = {"bucket": endpoint.bucket, "region": endpoint.region}
        self._push(context, {TencentCIJobsLink.xcom_key: _bucket_url(bucket)})

    def push_folder(self, context: Context, endpoint: Endpoint, folder: tuple[str, str, str] | None) -> None:
        """Push the URLs of a bucket's page, and of the folder that holds the results of many jobs.

        :param folder: bucket, region and path; ``None``: no result is known.
        """
        bucket = {"bucket": endpoint.bucket, "region": endpoint.region}
        url = ""
        if folder is not None:
            path = f"{folder[2]}/" if folder[2] else ""
            url = _folder_url({"bucket": folder[0], "region": folder[1]}, path)
        self._push(
            context, {TencentCIJobsLink.xcom_key: _bucket_url(bucket), TencentCIResultsLink.xcom_key: url}
        )

    def remember(self, results: Sequence[JobResult]) -> None:
        """Keep the URLs without pushing them: Airflow 3 does that at the end of this process."""
        self._urls.update(_urls_of(results))

    def _push(self, context: Context, urls: Mapping[str, str]) -> None:
        self._urls.update(urls)
        for key, url in urls.items():
            context["ti"].xcom_push(key=key, value=url)


def jobs_url(results: Sequence[JobResult]) -> str | None:
    """Return the page of the first job's bucket."""
    inputs = (_bucket_and_region(result["input"]) for result in results)
    first = next((bucket for bucket in inputs if bucket is not None), None)
    return _bucket_url(first) if first else None


def results_url(results: Sequence[JobResult]) -> str | None:
    """Return the folder of the results; of results in several buckets only the first one's count."""
    objects = [
        (bucket, str(written["object"]))
        for result in results
        for written in (*result["outputs"].values(), *result["other_objects"])
        if (bucket := _bucket_and_region(written))
    ]
    if not objects:
        return None
    first = objects[0][0]
    common = posixpath.commonprefix([key for bucket, key in objects if bucket == first])
    folder = common[: common.rfind("/") + 1]
    return _folder_url(first, folder)


def _urls_of(results: Sequence[JobResult]) -> dict[str, str]:
    return {
        TencentCIJobsLink.xcom_key: jobs_url(results) or "",
        TencentCIResultsLink.xcom_key: results_url(results) or "",
    }


def _folder_url(bucket: Mapping[str, str], folder: str) -> str:
    path = {"path": quote(f"/{folder}", safe="")} if folder else {}
    return f"{_CONSOLE}/cos/bucket?{urlencode({**bucket, **path})}"


def _bucket_url(bucket: Mapping[str, str | None]) -> str:
    return f"{_CONSOLE}/ci/bucket?{urlencode(bucket)}"


def _bucket_and_region(described: Mapping[str, Any]) -> dict[str, str] | None:
    bucket, region = described["bucket"], described["region"]
    return {"bucket": bucket, "region": region} if bucket and region else None
