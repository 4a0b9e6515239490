"""The calls of CI and COS: their names, as fault plan and ledger use them, and the parameters that COS calls
may have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

#: CI's calls by name: method and path, in which ``{ids}`` stands for the rest of the path
CI_CALLS = {
    "submit": "POST /jobs",
    "list": "GET /jobs",
    "describe": "GET /jobs/{ids}",
    "cancel": "PUT /jobs/{ids}",
    "create_template": "POST /template",
    "list_templates": "GET /template",
    "update_template": "PUT /template/{ids}",
    "delete_template": "DELETE /template/{ids}",
    "list_queues": "GET /queue",
    "update_queue": "PUT /queue/{ids}",
    "list_asr_queues": "GET /asrqueue",
    "update_asr_queue": "PUT /asrqueue/{ids}",
    "list_pic_queues": "GET /picqueue",
    "update_pic_queue": "PUT /picqueue/{ids}",
    "list_ai_queues": "GET /ai_queue",
    "update_ai_queue": "PUT /ai_queue/{ids}",
    "list_file_queues": "GET /file_queue",
    "update_file_queue": "PUT /file_queue/{ids}",
    "open_asr": "POST /asrbucket",
    "close_asr": "DELETE /asrbucket",
    "list_asr_buckets": "GET /asrbucket",
    "open_media": "POST /mediabucket",
    "close_media": "DELETE /mediabucket",
    "list_media_buckets": "GET /mediabucket",
    "open_pic": "POST /picbucket",
    "close_pic": "DELETE /picbucket",
    "list_pic_buckets": "GET /picbucket",
    "open_ai": "POST /ai_bucket",
    "close_ai": "DELETE /ai_bucket",
    "list_ai_buckets": "GET /ai_bucket",
    "open_file": "POST /file_bucket",
    "close_file": "DELETE /file_bucket",
    "list_file_buckets": "GET /file_bucket",
    "create_batch": "POST /inventorytriggerjob",
    "list_batches": "GET /inventorytriggerjob",
    "describe_batch": "GET /inventorytriggerjob/{ids}",
    "cancel_batch": "PUT /inventorytriggerjob/{ids}",
}
#: Where older pages (such as 436/47595) and SDKs submit, describe and cancel jobs of some types; lists are
#: not served there
OLD_JOB_PATHS = ("asr_jobs", "ai_jobs", "pic_jobs", "file_jobs")
#: Calls that must have the parameter ``cancel``
CANCELLATIONS = ("cancel", "cancel_batch")
#: Calls whose response has no ``RequestId`` in its body
JOB_CALLS = ("submit", "list", "describe", "cancel")
#: Calls that are served on the regional host, which names no bucket
BUCKET_LISTS = tuple(name for name in CI_CALLS if name.endswith("_buckets"))

#: COS's calls by method; :mod:`.service_request` names those that have other parameters
OBJECT_CALLS = {"PUT": "put_object", "GET": "get_object", "HEAD": "head_object", "DELETE": "delete_object"}
BUCKET_CALLS = {
    "PUT": "create_bucket",
    "GET": "list_objects",
    "HEAD": "head_bucket",
    "DELETE": "delete_bucket",
    "POST": "delete_objects",
}
#: The name of a request that is none of the named calls
OTHER = "other"
#: The name of every operation
OPERATIONS = (
    *CI_CALLS,
    *OBJECT_CALLS.values(),
    *BUCKET_CALLS.values(),
    *("media_info", "copy_object", "multipart", OTHER),
)

#: Response headers that a GET may set (436/7753), by parameter
RESPONSE_HEADERS = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}
_PARAMETERS_OF_ALL_CALLS = ("x-cos-security-token", "x-ci-security-token", "x-cos-traffic-limit")
_PARAMETERS_OF_OBJECT_CALLS: dict[str, Collection[str]] = {
    "PUT": ("partnumber", "uploadid"),
    "GET": (
        *("ci-process", "partnumber", "uploadid", "max-parts", "part-number-marker", "encoding-type"),
        *RESPONSE_HEADERS,
    ),
    "HEAD": ("partnumber", *RESPONSE_HEADERS),
    "DELETE": ("uploadid",),
    "POST": ("uploads", "uploadid", "encoding-type"),
}
_PARAMETERS_OF_BUCKET_CALLS: dict[str, Collection[str]] = {
    "GET": (
        *("prefix", "delimiter", "marker", "max-keys", "encoding-type"),
        *("uploads", "max-uploads", "key-marker", "upload-id-marker"),
        *("location", "versioning"),
    ),
    "POST": ("delete",),
}

_NAMES = {call: name for name, call in CI_CALLS.items()}


def ci_call(method: str, path: str) -> str | None:
    """Return the name of the CI call that has this method and path, ``None`` if there is none."""
    head, slash, _ = path.removeprefix("/").partition("/")
    if head in OLD_JOB_PATHS and (slash or method == "POST"):
        head = "jobs"
    return _NAMES.get(f"{method} /{head}{'/{ids}' if slash else ''}")


def unserved_parameter(method: str, path: str, params: Iterable[tuple[str, str]]) -> str | None:
    """Return the first parameter that makes a COS call one that is not served, ``None`` if there is none.

    A parameter such as ``acl`` or ``tagging`` makes another call of the same method and path. If it were
    ignored, a policy would be stored as the object's content, or the object deleted instead of its tags.
    """
    by_method = _PARAMETERS_OF_BUCKET_CALLS if path in ("", "/") else _PARAMETERS_OF_OBJECT_CALLS
    served = (*by_method.get(method, ()), *_PARAMETERS_OF_ALL_CALLS)
    return next(
        (name for name, _ in params if name.lower() not in served and not name.lower().startswith("q-")), None
    )
