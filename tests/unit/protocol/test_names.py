"""Keys that COS does not hold, addresses where keys are wanted, and what of an address may be shown."""

from __future__ import annotations

import pytest

from airflow_provider_ci.protocol.names import (
    ObjectAddress,
    key_rule_violation,
    object_address,
    redact_address,
)

BUCKET = "media-1250000001"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"cos://{BUCKET}/in/song.mp3", ObjectAddress(BUCKET, "in/song.mp3")),
        (f" COS://{BUCKET}/in/%E4%BA%BA%20a.mp3\n", ObjectAddress(BUCKET, "in/人 a.mp3")),
        (f"https://{BUCKET}.cos.ap-guangzhou.myqcloud.com/a.mp3?sign=1", ObjectAddress(BUCKET, "a.mp3")),
        (f"https://me:secret@{BUCKET}.cos.ap-guangzhou.myqcloud.com/a", ObjectAddress(BUCKET, "a")),
        ("cos://media/a", ObjectAddress(None, "a")),
        ("s3://bucket/a", ObjectAddress(None, "a")),
        ("https://example.org/a", ObjectAddress(None, "a")),
        ("cos://[x/a", ObjectAddress(None, "")),
        ("in/song.mp3", None),
        ("cos/a", None),
        ("10:30 talk.mp3", None),
        ("a/b://c", None),
        ("", None),
        (None, None),
        (5, None),
    ],
)
def test_addresses(text, address):
    assert object_address(text) == address


@pytest.mark.parametrize(
    ("text", "shown", "without_path"),
    [
        ("https://example.org/ci", "https://example.org/ci", "https://example.org/…"),
        ("https://me:hunter2@example.org:80/ci", "https://example.org:80/ci", "https://example.org:80/…"),
        ("https://example.org?hunter2#hunter2", "https://example.org", "https://example.org"),
        ("https://me:p#@hunter2@example.org", "https://…", "https://…"),
        ("https://me:hunter2", "https://me:…", "https://me:…"),
        ("me:hunter2/ci", "me:…/ci", "me:…/…"),
        ("a://b://me:hunter2@c", "c", "c"),
        ("https://[::1", "https://[::1", "https://[::1"),
        ("gateway.example.org", "gateway.example.org", "gateway.example.org"),
        ("", "", ""),
    ],
)
def test_what_is_shown_of_an_address(text, shown, without_path):
    assert redact_address(text) == shown
    assert redact_address(text, with_path=False) == without_path


@pytest.mark.parametrize("key", ["x" * 851, "声" * 284, "a/.", "a/..", ".", "..", "\\a", "a%0a%0Db"])
def test_keys_that_cos_does_not_hold(key):
    assert key_rule_violation(key) is not None


@pytest.mark.parametrize("key", ["x" * 850, "声" * 283, "a/.b", "a.", "a/...", "a\\", "%0a"])
def test_keys_that_it_does(key):
    assert key_rule_violation(key) is None
