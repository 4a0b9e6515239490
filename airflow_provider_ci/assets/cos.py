"""Assets ``cos://<name>-<appid>/<key>``: an object in COS. In Airflow 2.11 they are called datasets.

Airflow imports this module whenever a DAG file names an asset, so it loads nothing else at the top.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from airflow_provider_ci.protocol.names import BUCKET, is_object_key

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset
    from airflow.providers.common.compat.sdk import Asset

SCHEME = "cos"

# What RFC 3986 allows unescaped in a path. Nothing else is, so each key has exactly one URI
_UNESCAPED = "/-_.~!$&'()*+,;=:@"
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def create_asset(*, bucket: str, key: str, extra: dict[str, Any] | None = None) -> Asset:
    """Return the asset of an object. The URI contains the percent-encoded key.

    :param bucket: ``<name>-<appid>``.
    :param key: the object's key, not encoded.
    :raises ValueError: the object cannot exist, or cannot be an asset.
    """
    from airflow.providers.common.compat.sdk import Asset

    return Asset(uri=object_uri(bucket, key), extra=extra)


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Return the URI in the one form that Airflow compares: percent-encoded only where necessary.

    :raises ValueError: it is not the URI of an object.
    """
    return uri._replace(path=f"/{quote(_key(uri), safe=_UNESCAPED)}")


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:  # noqa: ARG001
    """Return the object's dataset in OpenLineage: namespace ``cos://<bucket>``, name the key."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    bucket, key = object_address(asset.uri)
    return Dataset(namespace=f"{SCHEME}://{bucket}", name=key)


def object_uri(bucket: str, key: str) -> str:
    """Return an object's URI.

    :raises ValueError: the bucket is not ``<name>-<appid>``, or an asset cannot have this key.
    """
    if not isinstance(key, str) or key.endswith("/"):
        raise ValueError(f"key is {key!r}, allowed: a key that does not end in /: Airflow would remove it")
    _check_bucket(bucket)
    uri = f"{SCHEME}://{bucket}/{quote(key, safe=_UNESCAPED)}"
    object_address(uri)
    return uri


def object_address(uri: str) -> tuple[str, str]:
    """Return bucket and key of an object's URI.

    :raises ValueError: it is not the URI of an object.
    """
    parts = urlsplit(uri)
    return parts.netloc, _key(parts)


def _key(uri: SplitResult) -> str:
    _check_bucket(uri.netloc)
    if uri.query or uri.fragment:
        raise ValueError(
            "The URI has a query or a fragment, allowed: bucket and key; in a key write %3F for ?, %23 for #"
        )
    if _BROKEN_ESCAPE.search(uri.path):
        raise ValueError(
            f"The URI's path is {uri.path!r}, allowed: percent-encoding; in a key write %25 for %"
        )
    try:
        key = unquote(uri.path, errors="strict").removeprefix("/")
    except UnicodeDecodeError:
        raise ValueError(f"The URI's path is {uri.path!r}, allowed: percent-encoded UTF-8") from None
    if not is_object_key(key):
        raise ValueError(
            f"The URI's key is {key!r}, allowed: a key that does not start with /, without control characters"
        )
    return key


def _check_bucket(bucket: str) -> None:
    if not BUCKET.fullmatch(bucket):
        shown = bucket.rpartition("@")[2]  # before it may be a password
        raise ValueError(
            f"The URI's bucket is {shown!r}, allowed: cos://<name>-<appid>/<key>, "
            "for instance cos://media-1250000001/out/voice.mp3"
        )
