"""Names for calls, as the fault plan and the ledger use them."""

from __future__ import annotations

from tencent_ci_emulator.http.service_request import Incoming, Service
from tencent_ci_emulator.objects.cos_parameters import unserved_parameter

# CI calls: method, path (``/*`` stands for what follows it) and name
_CI_NAMES = {
    ("POST", "/jobs"): "submit",
    ("GET", "/jobs"): "list",
    ("GET", "/jobs/*"): "describe",
    ("PUT", "/jobs/*"): "cancel",
    ("POST", "/template"): "create_template",
    ("GET", "/template"): "list_templates",
    ("PUT", "/template/*"): "update_template",
    ("DELETE", "/template/*"): "delete_template",
    ("GET", "/queue"): "list_queues",
    ("PUT", "/queue/*"): "update_queue",
    ("GET", "/asrqueue"): "list_asr_queues",
    ("PUT", "/asrqueue/*"): "update_asr_queue",
    ("POST", "/asrbucket"): "open_asr",
    ("DELETE", "/asrbucket"): "close_asr",
    ("GET", "/asrbucket"): "list_asr_buckets",
    ("POST", "/mediabucket"): "open_media",
    ("DELETE", "/mediabucket"): "close_media",
    ("GET", "/mediabucket"): "list_media_buckets",
    ("POST", "/inventorytriggerjob"): "create_batch",
    ("GET", "/inventorytriggerjob"): "list_batches",
    ("GET", "/inventorytriggerjob/*"): "describe_batch",
    ("PUT", "/inventorytriggerjob/*"): "cancel_batch",
}
_OBJECT_NAMES = {
    "PUT": "put_object",
    "GET": "get_object",
    "HEAD": "head_object",
    "DELETE": "delete_object",
}
_BUCKET_NAMES = {"GET": "list_objects", "HEAD": "head_bucket"}

#: A request that is none of the named calls.
OTHER = "other"
#: Every name that :func:`operation_of` gives.
OPERATIONS = (
    *_CI_NAMES.values(),
    *_OBJECT_NAMES.values(),
    *_BUCKET_NAMES.values(),
    "media_info",
    "copy_object",
    "multipart",
    OTHER,
)


def operation_of(request: Incoming) -> str:
    """Return the name of the call that a request makes, ``other`` if none."""
    if request.service is Service.CI:
        head, separator, _ = request.path.removeprefix("/").partition("/")
        return _CI_NAMES.get((request.method, f"/{head}{'/*' if separator else ''}"), OTHER)
    if unserved_parameter(request) is not None:
        return OTHER
    if request.path in ("", "/"):
        is_facts = request.has_flag("location") or request.has_flag("versioning")
        return OTHER if is_facts else _BUCKET_NAMES.get(request.method, OTHER)
    if request.method == "GET" and request.given_params.get("ci-process") == "videoinfo":
        return "media_info"
    if any(request.has_flag(name) for name in ("uploads", "uploadid", "partnumber")):
        return "multipart"
    if request.method == "PUT" and request.header("x-cos-copy-source"):
        return "copy_object"
    return _OBJECT_NAMES.get(request.method, OTHER)


def ids_of(request: Incoming) -> tuple[str, ...]:
    """Return the ids that the path names: of jobs, a template, a queue or a batch job."""
    if request.service is not Service.CI:
        return ()
    _, _, ids = request.path.removeprefix("/").partition("/")
    return tuple(part for part in ids.split(",") if part)
