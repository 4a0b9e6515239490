"""The items of a bulk task: their requests, and what is refused before anything is sent."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.bulk_items import BulkItems, build_item_request, read_items
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.submission.idempotency_key import fingerprint
from tests.unit.operators.bulk_operator import BulkJob, VoiceSeparateBulk

ENDPOINT = Endpoint(bucket="media-1250000001", region="ap-guangzhou")
LOG = logging.getLogger(__name__)


def bulk(input_objects: Any = None, **arguments: Any) -> VoiceSeparateBulk:
    usual = {"audio_mode": "IsAudio", "voice_object": "out/${InputName}.${ext}"}
    return VoiceSeparateBulk(task_id="bulk", input_objects=input_objects, **(usual | arguments))


def items_of(operator: Any) -> BulkItems:
    return read_items(operator, None, ENDPOINT, LOG)  # type: ignore[arg-type]


class TestRequests:
    def test_an_item_gets_the_request_of_a_single_job(self) -> None:
        items = items_of(bulk(["in/a.mp3"], codec="mp3", job_level=1))
        single = VoiceSeparateOperator(
            task_id="single", input_object="in/a.mp3", voice_object="out/a.${ext}", audio_mode="IsAudio",
            codec="mp3", job_level=1,
        )  # fmt: skip
        assert items.request(0) == single.build_request(ENDPOINT)

    def test_the_items_own_arguments_win(self) -> None:
        item = {
            "input_object": "in/b.mp3",
            "voice_object": "other/b.mp3",
            "output_bucket": "results-1250000001",
            "job_level": 2,
            "operation": {"VoiceSeparate": {"AudioConfig": {"Codec": "mp3"}}},
        }
        items = items_of(
            bulk(["in/a.mp3", item], operation={"VoiceSeparate": {"AudioConfig": {"Bitrate": 64}}})
        )
        first, second = items.request(0), items.request(1)
        assert first["Operation"]["VoiceSeparate"]["AudioConfig"] == {"Bitrate": 64}
        assert second["Operation"] == {
            "VoiceSeparate": {"AudioConfig": {"Bitrate": 64, "Codec": "mp3"}, "AudioMode": "IsAudio"},
            "JobLevel": 2,
            "Output": {"Bucket": "results-1250000001", "Region": "ap-guangzhou", "AuObject": "other/b.mp3"},
        }

    def test_an_item_is_identified_by_the_fingerprint_of_its_request(self) -> None:
        items = items_of(bulk(["in/a.mp3", "in/b.mp3"]))
        expected = [fingerprint(items.request(index), "media-1250000001 ap-guangzhou") for index in range(2)]
        assert [items.fingerprint(index) for index in range(2)] == [each[:12] for each in expected]

    def test_an_item_is_named_by_its_input(self) -> None:
        items = items_of(
            bulk(["in/a.mp3", {"input_object": "in/b.mp3"}, {"input_url": "https://example.com/c.mp3"}])
        )
        assert [items.name(index) for index in range(3)] == ["in/a.mp3", "in/b.mp3", "item 3"]
        assert [items.input_object(index) for index in range(3)] == ["in/a.mp3", "in/b.mp3", None]
        assert items.item(1) == {"input_object": "in/b.mp3"}

    def test_an_operator_is_not_changed(self) -> None:
        operator = bulk([{"input_object": "in/a.mp3", "voice_object": "b"}], operation={"JobLevel": 1})
        before = dict(vars(operator))
        items_of(operator).request(0)
        assert vars(operator) == before


class TestPlaceholders:
    @pytest.mark.parametrize(
        ("item", "key", "becomes"),
        [
            ("in/2025/a.b.mp3", "out/${InputName}.${ext}", "out/a.b.${ext}"),
            ("in/2025/a.b.mp3", "out/${InputNameAndExt}", "out/a.b.mp3"),
            ("in/2025/a.b.mp3", "${InputPath}/voice/${InputName}-${jobid}", "in/2025/voice/a.b-${jobid}"),
            ("song", "out/${InputName}-${InputNameAndExt}", "out/song-song"),
            ("in/.mp3", "out/${InputName}", "out/.mp3"),
            (
                {"input_url": "https://h.example.com/in/a%20b.mp3?x=1"},
                "${InputPath}-/${InputName}",
                "in-/a b",
            ),
        ],
    )
    def test_those_of_the_input_are_replaced(self, item: Any, key: str, becomes: str) -> None:
        request = items_of(bulk([item], voice_object=key)).request(0)
        assert request["Operation"]["Output"]["AuObject"] == becomes

    def test_a_key_in_operation_is_replaced_too(self) -> None:
        streams = [
            {"Index": "0", "Object": "${InputName}-0.${ext}"},
            {"Index": "1", "Object": "1-${InputName}"},
        ]

        operator = BulkJob(
            task_id="x",
            tag="StreamExtract",
            input_objects=["in/a.mp4"],
            operation={"Output": {"StreamExtract": streams}},
        )
        request = items_of(operator).request(0)
        assert [each["Object"] for each in request["Operation"]["Output"]["StreamExtract"]] == [
            "a-0.${ext}",
            "1-a",
        ]

    @pytest.mark.parametrize(
        "wrong", ["${inputname}", "$InputName", "{InputName}", "%(InputName)s", "<input_name>"]
    )
    def test_a_misspelt_one_is_refused(self, wrong: str) -> None:
        with pytest.raises(RequestValidationError) as caught:
            build_item_request(bulk(voice_object=f"out/{wrong}.mp3"), ENDPOINT, "in/a.mp3")
        assert caught.value.problems == (
            f"voice_object is 'out/{wrong}.mp3', allowed: ${{InputName}}, spelt exactly so,"
            f" instead of {wrong}, which would be taken literally",
        )

    def test_a_folder_of_an_input_without_one_is_refused(self) -> None:
        with pytest.raises(
            RequestValidationError, match="voice_object is '/a', allowed: an object key that neither"
        ):
            build_item_request(bulk(voice_object="${InputPath}/${InputName}"), ENDPOINT, "a.mp3")
