"""The items of bulk tasks: requests, or errors that name the items and show no secret."""

from __future__ import annotations

import json
import logging
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.operators.argument_errors import TaskArgumentError, fail_without_retry
from airflow_provider_ci.operators.bulk_items import read_items
from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.bulk_request import item_arguments
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.protocol.wire import Endpoint
from tests.unit.operators.bulk_operator import rendered

from .effort import effort

ENDPOINT = Endpoint(bucket="media-1250000001", region="ap-guangzhou")
LOG = logging.getLogger(__name__)
HOOK: Any = None

ARGUMENTS = st.sampled_from([*item_arguments(VoiceSeparateBulkOperator), "x", ""]) | st.integers()
ELEMENTS = st.sampled_from(
    [
        *("Output", "Object", "AuObject", "Bucket", "StreamExtract", "Index", "VoiceSeparate", "AudioConfig"),
        *("Codec", "TemplateId", "JobLevel", "Url"),
    ]
)
LEAVES: st.SearchStrategy[Any] = st.sampled_from(
    [
        *("in/a.mp3", "out/${InputName}.${ext}", "${jobid}", "$InputName", "None", "[1]", "\ud800", ""),
        *("https://user:secret@example.com/a?secret", "cos://user:secret@b-1250000001/a", "mp3", b"a"),
        *(None, True, 7, 10**400, float("nan"), float("inf")),
    ]
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(ELEMENTS | st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
TAGS = st.sampled_from(["VoiceSeparate", "Transcode", "StreamExtract", "Tts", "X"])
ITEMS = TREES | st.dictionaries(ARGUMENTS, TREES, max_size=5)


@effort(300)
@given(
    TREES | st.lists(ITEMS, max_size=4),
    TREES,
    st.sampled_from(["", "Transcode", "StreamExtract", "Tts", "X"]),
)
def test_items_are_read_or_rejected(value: Any, operation: Any, tag: str) -> None:
    operator: Any
    if tag == "VoiceSeparate":
        key = "${InputName}.${ext}"
        operator = rendered(VoiceSeparateBulkOperator, input_objects=value, voice_object=key)
    else:
        operator = rendered(TencentCIBulkJobOperator, tag=tag, input_objects=value, operation=operation)
    try:
        with fail_without_retry(operator):
            items = read_items(operator, HOOK, ENDPOINT, LOG)
    except TaskArgumentError as error:
        assert "secret" not in str(error)
        return
    for index in range(len(items)):
        assert isinstance(items.request(index)["Operation"], dict)
        assert len(items.fingerprint(index)) == 12
        json.dumps([items.item(index), items.name(index)])
