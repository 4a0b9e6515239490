"""The calls of the service: the one table of CI's, and the name of each, as fault plan and ledger use it."""

from __future__ import annotations

#: CI's calls by name: method and path, in which ``{ids}`` stands for whatever follows
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
    "open_asr": "POST /asrbucket",
    "close_asr": "DELETE /asrbucket",
    "list_asr_buckets": "GET /asrbucket",
    "open_media": "POST /mediabucket",
    "close_media": "DELETE /mediabucket",
    "list_media_buckets": "GET /mediabucket",
    "create_batch": "POST /inventorytriggerjob",
    "list_batches": "GET /inventorytriggerjob",
    "describe_batch": "GET /inventorytriggerjob/{ids}",
    "cancel_batch": "PUT /inventorytriggerjob/{ids}",
}
#: Calls that must have the parameter ``cancel``
CANCELLATIONS = ("cancel", "cancel_batch")
#: Calls whose response has no ``RequestId`` in its body
JOB_CALLS = ("submit", "list", "describe", "cancel")
#: Calls that the regional host has, which names no bucket
BUCKET_LISTS = ("list_asr_buckets", "list_media_buckets")

#: COS's calls; the names of those with other parameters are decided by :mod:`.service_request`
OBJECT_CALLS = {"PUT": "put_object", "GET": "get_object", "HEAD": "head_object", "DELETE": "delete_object"}
BUCKET_CALLS = {"GET": "list_objects", "HEAD": "head_bucket"}
#: A request that is none of the named calls
OTHER = "other"
#: The name of every operation
OPERATIONS = (
    *CI_CALLS,
    *OBJECT_CALLS.values(),
    *BUCKET_CALLS.values(),
    *("media_info", "copy_object", "multipart", OTHER),
)

_NAMES = {call: name for name, call in CI_CALLS.items()}


def ci_call(method: str, path: str) -> str | None:
    """Return the name of the CI call that has this method and path, ``None`` if there is none."""
    head, slash, _ = path.removeprefix("/").partition("/")
    return _NAMES.get(f"{method} /{head}{'/{ids}' if slash else ''}")
