"""The signature of Tencent Cloud's API 3.0, TC3-HMAC-SHA256, for JSON posts such as those to STS.

Source: 213/30654. Only what such a post needs: the path is ``/``, there is no query, and ``Content-Type`` and
``Host`` are signed beside the body.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime

#: ``Content-Type`` of the posts, exactly as signed.
CONTENT_TYPE = "application/json"

_ALGORITHM = "TC3-HMAC-SHA256"
_SIGNED_HEADERS = "content-type;host"
_SCOPE_END = "tc3_request"


def authorization(
    body: bytes, *, host: str, service: str, secret_id: str, secret_key: str, timestamp: int
) -> str:
    """Return the ``Authorization`` value of a post.

    :param host: value of ``Host``, exactly as sent.
    :param service: first part of the service's host name: ``sts``.
    :param timestamp: Unix seconds, also sent as ``X-TC-Timestamp``; good for five minutes.
    """
    date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\n"
    request = f"POST\n/\n\n{headers}\n{_SIGNED_HEADERS}\n{hashlib.sha256(body).hexdigest()}"
    scope = f"{date}/{service}/{_SCOPE_END}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"TC3{secret_key}".encode()
    for part in (date, service, _SCOPE_END):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"{_ALGORITHM}\n{timestamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    return (
        f"{_ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={_SIGNED_HEADERS}, Signature={signature}"
    )
