"""Asset URIs: one for each object, and none for what can be no object."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest
from airflow.providers.common.compat.sdk import Asset
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.assets.cos import (
    convert_asset_to_openlineage,
    create_asset,
    object_address,
    sanitize_uri,
)
from airflow_provider_ci.protocol.names import is_object_key

BUCKET = "media-1250000001"
KEYS = [
    ("out/voice.mp3", "out/voice.mp3"),
    ("song (1) [live].mp3", "song%20(1)%20%5Blive%5D.mp3"),
    ("人声.mp3", "%E4%BA%BA%E5%A3%B0.mp3"),
    ("a?b#c%41&d=e+f;g.mp3", "a%3Fb%23c%2541&d=e+f;g.mp3"),
    ("a//b/../c.mp3", "a//b/../c.mp3"),
    ("user@host:x.mp3", "user@host:x.mp3"),
]
# Airflow allows 1,500 characters, and escaped one is up to twelve
objects = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=100).filter(
    lambda key: is_object_key(key) and not key.endswith("/")
)


@pytest.mark.parametrize(("key", "path"), KEYS)
def test_an_object_has_one_uri(key: str, path: str) -> None:
    asset = create_asset(bucket=BUCKET, key=key, extra={"a": 1})
    assert (asset.uri, asset.extra) == (f"cos://{BUCKET}/{path}", {"a": 1})
    assert object_address(asset.uri) == (BUCKET, key)


@given(objects)
def test_the_uri_of_any_key_leads_back_to_it(key: str) -> None:
    asset = create_asset(bucket=BUCKET, key=key)
    assert asset.uri.isascii()
    assert object_address(asset.uri) == (BUCKET, key)
    assert Asset(asset.uri) == asset, "Airflow does not change it"


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("out/voice.mp3", "out/voice.mp3"),
        ("out/%76oice.mp3", "out/voice.mp3"),
        ("song 1.mp3", "song%201.mp3"),
        ("%e4%ba%ba%e5%a3%b0%201.mp3", "%E4%BA%BA%E5%A3%B0%201.mp3"),
        ("out/", "out"),
    ],
)
def test_airflow_normalizes_uris_to_this_form(written: str, path: str) -> None:
    assert Asset(f"cos://{BUCKET}/{written}").uri == f"cos://{BUCKET}/{path}"
    assert Asset(f"COS://{BUCKET}/{written}").uri == f"cos://{BUCKET}/{path}"


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("cos:///out/voice.mp3", "bucket is ''"),
        ("cos://media/out/voice.mp3", "bucket is 'media', allowed: cos://<name>-<appid>/<key>"),
        ("cos://Media-1250000001/a", "bucket is 'Media-1250000001'"),
        (f"cos://{BUCKET}.cos.ap-guangzhou.myqcloud.com/a", "<name>-<appid>"),
        (f"cos://{BUCKET}:80/a", "<name>-<appid>"),
        (f"cos://me@{BUCKET}/a", "<name>-<appid>"),
        (f"cos://{BUCKET}", "key is ''"),
        (f"cos://{BUCKET}/", "key is ''"),
        (f"cos://{BUCKET}//a", "key is '/a'"),
        (f"cos://{BUCKET}/a%0Ab", r"key is 'a\\nb'"),
        (f"cos://{BUCKET}/a?versionId=1", "write %3F for [?]"),
        (f"cos://{BUCKET}/100%.mp3", "write %25 for %"),
        (f"cos://{BUCKET}/%ff.mp3", "percent-encoded UTF-8"),
    ],
)
def test_a_uri_that_is_not_of_an_object_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sanitize_uri(urlsplit(uri))


def test_airflow_refuses_a_wrong_uri(monkeypatch: pytest.MonkeyPatch) -> None:
    # for Airflow 2.11; Airflow 3 has no such setting
    monkeypatch.setenv("AIRFLOW__CORE__STRICT_DATASET_URI_VALIDATION", "True")
    with pytest.raises(ValueError, match="bucket is 'media', allowed"):
        Asset("cos://media/out/voice.mp3")


def test_the_error_does_not_show_a_password() -> None:
    with pytest.raises(ValueError, match="bucket is") as caught:
        sanitize_uri(urlsplit("cos://me:the-password@media/a"))
    assert "the-password" not in str(caught.value)


@pytest.mark.parametrize(
    ("bucket", "key", "message"),
    [
        ("media", "a", "bucket is 'media'"),
        (f"{BUCKET}/x", "a", "bucket is 'media-1250000001/x'"),
        (BUCKET, "", "key is ''"),
        (BUCKET, "/a", "key is '/a'"),
        (BUCKET, "a/", "does not end in /"),
        (BUCKET, "a\n", r"key is 'a\\n'"),
        (BUCKET, None, "key is None"),
    ],
)
def test_a_wrong_bucket_or_key_has_no_asset(bucket: str, key: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_asset(bucket=bucket, key=key)


@pytest.mark.parametrize(("key", "path"), KEYS)
def test_the_dataset_has_bucket_and_key(key: str, path: str) -> None:
    dataset = convert_asset_to_openlineage(create_asset(bucket=BUCKET, key=key), lineage_context=None)
    assert (dataset.namespace, dataset.name) == (f"cos://{BUCKET}", key)
