"""The items of a bulk task: their requests, and what is refused before anything is sent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import pytest

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators import bulk_items
from airflow_provider_ci.operators.bulk_items import BulkItems, read_items
from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.bulk_request import build_item_request
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.protocol.tree import find
from airflow_provider_ci.protocol.wire import Endpoint
from airflow_provider_ci.submission.idempotency_key import fingerprint
from tests.unit.operators.bulk_operator import rendered

ENDPOINT = Endpoint(bucket="media-1250000001", region="ap-guangzhou")
LOG = logging.getLogger(__name__)
HOOK: Any = None  # a list needs none


def bulk(input_objects: Any = None, **arguments: Any) -> VoiceSeparateBulkOperator:
    usual = {"audio_mode": "IsAudio", "voice_object": "out/${InputName}.${ext}"}
    return rendered(VoiceSeparateBulkOperator, input_objects=input_objects, **(usual | arguments))


def items_of(operator: Any, **further: Any) -> BulkItems:
    return read_items(operator, HOOK, ENDPOINT, LOG, **further)


def refused(operator: Any, **further: Any) -> tuple[str, ...]:
    with pytest.raises(RequestValidationError) as caught:
        items_of(operator, **further)
    return tuple(caught.value.problems)


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
        operation = {"VoiceSeparate": {"AudioConfig": {"Bitrate": 64}}}
        items = items_of(bulk(["in/a.mp3", item], operation=operation))
        first, second = items.request(0), items.request(1)
        assert first["Operation"]["VoiceSeparate"]["AudioConfig"] == {"Bitrate": 64}
        assert second["Operation"] == {
            "VoiceSeparate": {"AudioConfig": {"Bitrate": 64, "Codec": "mp3"}, "AudioMode": "IsAudio"},
            "JobLevel": 2,
            "Output": {"Bucket": "results-1250000001", "Region": "ap-guangzhou", "AuObject": "other/b.mp3"},
        }
        assert operation == {"VoiceSeparate": {"AudioConfig": {"Bitrate": 64}}}

    def test_an_element_of_the_task_can_be_left_out_of_one_item(self) -> None:
        item = {"input_object": "in/b.mp3", "operation": {"VoiceSeparate": {"AudioConfig": None}}}
        items = items_of(bulk([item], operation={"VoiceSeparate": {"AudioConfig": {"Bitrate": 64}}}))
        assert items.request(0)["Operation"]["VoiceSeparate"]["AudioConfig"] is None

    def test_elements_of_the_input_are_those_of_the_task_and_of_the_item(self) -> None:
        translation = {"Operation": {"Output": {"Object": "out/${InputName}"}}}
        operator = rendered(
            TencentCIBulkJobOperator,
            tag="Translation",
            input_objects=[{"input_object": "in/a.txt", "input_elements": {"Lang": "en"}}],
            input_elements={"Lang": "zh", "Type": "txt"},
            operation={"Translation": {"Lang": "zh", "Type": "txt"}, **translation["Operation"]},
        )
        assert items_of(operator).request(0)["Input"] == {"Object": "in/a.txt", "Lang": "en", "Type": "txt"}

    def test_an_item_is_identified_by_the_fingerprint_of_its_request(self) -> None:
        items = items_of(bulk(["in/a.mp3", "in/b.mp3"]))
        expected = [fingerprint(items.request(index), "media-1250000001 ap-guangzhou") for index in range(2)]
        assert [items.fingerprint(index) for index in range(2)] == [each[:12] for each in expected]

    def test_an_item_is_named_by_its_input(self) -> None:
        address = {"input_url": "https://example.com/c.mp3"}
        items = items_of(bulk(["in/a.mp3", {"input_object": "in/b.mp3"}, address]))
        assert [items.name(index) for index in range(3)] == ["in/a.mp3", "in/b.mp3", "item 3"]
        assert [items.input_object(index) for index in range(3)] == ["in/a.mp3", "in/b.mp3", None]
        assert items.item(1) == {"input_object": "in/b.mp3"}

    def test_the_key_of_an_input_may_be_an_element(self) -> None:
        item = {"input_elements": {"Object": "in/a.mp3"}}
        items = items_of(bulk([item, {"input_object": "in/b.mp3"}]))
        assert [items.input_object(index) for index in range(2)] == ["in/a.mp3", "in/b.mp3"]
        items = items_of(bulk([{"codec": "mp3", "voice_object": "a"}], input_elements={"Object": "in/c.mp3"}))
        assert items.input_object(0) == find(items.request(0), "Input.Object") == "in/c.mp3"

    def test_the_operator_stays_as_it_is(self) -> None:
        item = {"input_object": "in/a.mp3", "voice_object": "b", "operation": {"VoiceSeparate": {"X": "y"}}}
        operator = bulk([item], operation={"VoiceSeparate": {"Z": "y"}})
        before = {**vars(operator)}
        items_of(operator).request(0)
        assert vars(operator) == before

    def test_requests_do_not_depend_on_later_changes_of_the_operator(self) -> None:
        operator = bulk(["in/a.mp3"])
        items = items_of(operator)
        before = items.request(0)
        operator.codec, operator.input_objects = "wav", None
        assert items.request(0) == before

    def test_threads_may_ask_for_requests(self) -> None:
        count, barrier = 200, threading.Barrier(4)
        items = items_of(bulk([f"in/{number}.mp3" for number in range(count)]))

        def all_of_them(_: int) -> list[Any]:
            barrier.wait()
            return [items.request(index) for index in range(count)]

        with ThreadPoolExecutor(4) as executor:
            first, *others = executor.map(all_of_them, range(4))
        assert [each["Input"]["Object"] for each in first] == [f"in/{number}.mp3" for number in range(count)]
        assert all(each == first for each in others)

    def test_none_in_the_name_of_an_input_is_no_failed_template(self) -> None:
        operator = bulk(["in/None/a.mp3"], voice_object="out/${InputPath}/${InputName}")
        operator.templated_arguments = {"voice_object": "{{ x }}/${InputPath}/${InputName}"}
        assert items_of(operator).request(0)["Operation"]["Output"]["AuObject"] == "out/in/None/a"
        operator.voice_object = "None/${InputPath}/${InputName}"
        (problem,) = refused(operator)
        assert "a template rendered None" in problem

    def test_the_arguments_of_an_item_come_from_no_template(self) -> None:
        item = {"input_object": "in/a.mp3", "voice_object": "None/a", "template_id": None, "codec": None}
        operator = bulk([item], codec="mp3")
        operator.templated_arguments = dict.fromkeys(("voice_object", "template_id"), "{{ x }}")
        request = items_of(operator).request(0)
        assert request["Operation"]["Output"]["AuObject"] == "None/a"
        assert request["Operation"]["VoiceSeparate"] == {"AudioMode": "IsAudio"}


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
            ({"input_object": "in/a.mp3", "voice_object": "b/${InputName}"}, "unused", "b/a"),
        ],
    )
    def test_those_of_the_input_are_replaced(self, item: Any, key: str, becomes: str) -> None:
        request = items_of(bulk([item], voice_object=key)).request(0)
        assert request["Operation"]["Output"]["AuObject"] == becomes

    def test_keys_in_operation_are_replaced_too(self) -> None:
        streams = [
            {"Index": "0", "Object": "${InputName}-0.${ext}"},
            {"Index": "1", "Object": "1-${InputName}"},
        ]
        operator = rendered(
            TencentCIBulkJobOperator,
            tag="StreamExtract",
            input_objects=["in/a.mp4"],
            operation={"Output": {"StreamExtract": streams}},
        )
        output = items_of(operator).request(0)["Operation"]["Output"]
        assert [each["Object"] for each in output["StreamExtract"]] == ["a-0.${ext}", "1-a"]

    def test_only_keys_of_results_are_replaced(self) -> None:
        operator = rendered(
            TencentCIBulkJobOperator,
            tag="Unknown",
            input_objects=["in/a.mp4"],
            operation={"Text": "${InputName}", "Output": {"Object": "${InputName}", "Other": "${InputName}"}},
        )
        operation = items_of(operator).request(0)["Operation"]
        assert (operation["Text"], operation["Output"]["Object"]) == ("${InputName}", "a")
        assert operation["Output"]["Other"] == "${InputName}"

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

    def test_those_of_an_input_that_is_not_there_are_refused(self) -> None:
        operator = rendered(TencentCIBulkJobOperator, tag="Tts", input_objects=[{}],
            operation={
                "TtsTpl": {}, "TtsConfig": {"InputType": "Text", "Input": "Good day"},
                "Output": {"Object": "${InputName}.mp3"},
            },
        )  # fmt: skip
        (problem,) = refused(operator)
        assert problem.startswith("item 1: operation.Output.Object is '${InputName}.mp3', allowed: ")

    def test_the_folder_of_an_input_without_one_is_refused(self) -> None:
        (problem,) = refused(bulk(["a.mp3"], voice_object="${InputPath}/${InputName}"))
        assert problem.startswith(
            "item 1 ('a.mp3'): voice_object is '/a', allowed: an object key that neither"
        )


class TestWrongItems:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                None,
                "input_objects is None, allowed: a list of keys, or of dicts with the arguments of one item",
            ),
            ("in/a.mp3", "input_objects is 'in/a.mp3', allowed: a list of keys"),
            ("['in/a.mp3']", "a template rendered text: pass the other task's .output"),
            ({"in/a.mp3": 1}, "input_objects is {'in/a.mp3': 1}, allowed: a list of keys"),
            ({"in/a.mp3"}, "input_objects is {'in/a.mp3'}, allowed: a list of keys"),
            ((key for key in ["in/a.mp3"]), "input_objects is <generator object"),
            (b"in/a.mp3", "input_objects is b'in/a.mp3', allowed: a list of keys"),
            (5, "input_objects is 5, allowed: a list of keys"),
            ([], "input_objects is [], allowed: at least one item"),
            ([None], "item 1: the item is None, allowed: a key, or a dict with arguments of the item"),
            (["in/a.mp3", 5], "item 2: the item is 5, allowed: a key, or a dict"),
            ([["in/a.mp3"]], "item 1: the item is ['in/a.mp3'], allowed: a key, or a dict"),
            ([b"a"], "item 1: the item is b'a', allowed: a key, or a dict"),
            ([""], "item 1: the item is '', allowed: a key, or a dict"),
            ([" "], "item 1 (' '): input_object is None, allowed: an object key"),
            (["None"], "item 1 ('None'): input_object is 'None', allowed: a string"),
            (["/in/a.mp3"], "item 1 ('/in/a.mp3'): input_object is '/in/a.mp3', allowed: an object key"),
            (["cos://b-1250000001/a"], "allowed: an object key, here 'a', and the bucket, 'b-1250000001'"),
            ([{"input_object": None}], "item 1: input_object is None, allowed: an object key"),
            ([{"input_object": 7}], "item 1: input_object is 7, allowed: a string"),
            ([{"input_object": ["a"]}], "item 1: input_object is ['a'], allowed: one string"),
            ([{"input_object": "a", "operation": "x"}], "item 1 ('a'): operation is 'x', allowed: a dict"),
            ([{"input_object": "a", "job_level": 3}], "item 1 ('a'): job_level is 3, allowed: 0, 1, 2"),
            (
                [{"input_object": "a", "codec": "mp4"}],
                "item 1 ('a'): codec is 'mp4', allowed: aac, flac, mp3",
            ),
            (
                [{"input_object": "a", "input_url": "https://example.com/a"}],
                "item 1 ('a'): input_url is set, allowed: not together with input_object",
            ),
            (
                [{"input_object": "a", "operation": {"VoiceSeparate": {"AudioMode": "IsAudio"}}}],
                "item 1 ('a'): audio_mode is set, allowed: not together with operation.VoiceSeparate.",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, value: Any, message: str) -> None:
        assert message in "; ".join(refused(bulk(value)))

    @pytest.mark.parametrize(
        "name", ["voice_objekt", "bucket", "region", "tag", "user_data", "durable", "callback_mq_config", 5]
    )
    def test_what_is_no_argument_of_an_item_is_refused(self, name: Any) -> None:
        (problem,) = refused(bulk(["in/b.mp3", {"input_object": "in/a.mp3", name: "x"}]))
        assert problem.startswith(
            f"item 2 ('in/a.mp3'): '{name}' is no argument of an item, allowed: input_object, input_url,"
            " input_elements, operation, job_level, queue_id, callback_url, callback_format, callback_type,"
            " template_id, audio_mode, "
        )
        assert "voice_object" in problem

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ({1, 2}, "input_elements.X is {1, 2}, allowed: a string, a number, "),
            (MappingProxyType({}), "the item is {'input_object': 'in/a.mp3', 'input_elements': "),
        ],
    )
    def test_a_value_that_a_manifest_cannot_have_is_refused(self, value: Any, message: str) -> None:
        (problem,) = refused(bulk([{"input_object": "in/a.mp3", "input_elements": {"X": value}}]))
        assert problem.startswith(f"item 1 ('in/a.mp3'): {message}")

    @pytest.mark.parametrize("levels", [30, 200, 500, 100_000])
    def test_hundreds_of_levels_are_refused(self, levels: int) -> None:
        deep: Any = {}
        for _ in range(levels):
            deep = {"a": deep}
        (problem,) = refused(bulk([{"input_object": "in/a.mp3", "operation": deep}], voice_object="a"))
        assert " levels" in problem

    def test_a_dict_that_contains_itself_is_refused(self) -> None:
        item: dict[str, Any] = {"input_object": "in/a.mp3"}
        item["operation"] = item
        assert refused(bulk([item]))[0].endswith("allowed: at most 24 levels")

    def test_a_key_of_more_than_850_bytes_is_refused(self) -> None:
        (problem,) = refused(bulk(["in/b.mp3", "声" * 284], voice_object="${jobid}"))
        assert "input_object is " in problem
        assert problem.endswith("allowed: a key of at most 850 bytes in UTF-8; this one has 852")

    def test_a_result_of_more_than_850_bytes_is_refused(self) -> None:
        (problem,) = refused(bulk(["a" * 840], voice_object="voices/of/${InputName}.mp3"))
        assert "voice_object is 'voices/of/aaa" in problem
        assert "allowed: a key of at most 850 bytes" in problem

    def test_more_than_the_limit_are_refused(self) -> None:
        assert len(items_of(bulk(["a", "b"], max_jobs=2))) == 2
        assert refused(bulk(["a", "b", "c"], max_jobs=2)) == (
            "input_objects has 3 items, allowed: at most 2 (max_jobs)",
        )

    def test_a_secret_in_an_address_is_not_shown(self) -> None:
        item = {"input_url": "https://user:secret@example.com/a b.mp3?sign=secret"}
        key = f"https://user:{'secret' * 100}@example.com/a.mp3?sign=secret"
        values = [item, item, "x", None, {**item, "tag": "x"}, key, {"input_object": key}]
        problems = refused(bulk(values))
        shown = "'https://example.com/a.mp3'"
        assert any(each.startswith(f"item 6 ({shown}), item 7 ({shown}): input_object") for each in problems)
        assert "secret" not in "; ".join(problems)

    def test_a_very_long_key_is_not_shown_completely(self) -> None:
        (problem,) = refused(bulk(["a" * 10_000], voice_object="${jobid}"))
        assert problem.startswith(f"item 1 ('{'a' * 100}…'): input_object is ")
        assert len(problem) < 500

    @pytest.mark.parametrize("value", ["mine", " ", 5])
    def test_data_in_the_place_of_the_idempotency_key_is_refused(self, value: Any) -> None:
        allowed = "allowed: None, because the idempotency key of each item takes its place"
        item = {"input_object": "in/a.mp3", "operation": {"UserData": value}}
        assert refused(bulk(["in/b.mp3", item])) == (
            f"item 2 ('in/a.mp3'): operation.UserData is {value!r}, {allowed}",
        )
        (problem,) = refused(bulk(["in/b.mp3"], operation={"UserData": value}))
        assert problem.endswith(f"operation.UserData is {value!r}, {allowed}")


class Lazily(Sequence[str]):
    """Items that are fetched when they are asked for, as the outputs of mapped tasks."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        return [f"in/{number}.mp3" for number in range(3)][index]


def test_the_outputs_of_mapped_tasks_are_items() -> None:
    items = items_of(bulk(Lazily()))
    assert [items.item(index) for index in range(len(items))] == ["in/0.mp3", "in/1.mp3", "in/2.mp3"]
    assert refused(bulk(Lazily(), max_jobs=2)) == (
        "input_objects has 3 items, allowed: at most 2 (max_jobs)",
    )


class TestManyProblems:
    def test_the_items_of_one_problem_are_named_together(self) -> None:
        keys = [f"in/{number}.mp3" for number in range(5)]
        assert refused(bulk(keys, codec="mp4")) == (
            "item 1 ('in/0.mp3'), item 2 ('in/1.mp3'), item 3 ('in/2.mp3') and 2 more: codec is 'mp4',"
            " allowed: aac, flac, mp3, amr, wav",
        )

    def test_all_problems_of_an_item_are_named(self) -> None:
        problems = refused(bulk([{"input_object": "in/a", "job_level": 3, "queue_id": "a b"}]))
        assert {each.partition(" is ")[0] for each in problems} == {
            "item 1 ('in/a'): queue_id",
            "item 1 ('in/a'): job_level",
        }

    def test_after_twenty_items_with_problems_the_others_are_not_checked(self) -> None:
        keys = [*(f"in/{number}" for number in range(5)), *(f"/in/{number}" for number in range(30))]
        *problems, last = refused(bulk(keys))
        assert len(problems) == 20
        assert problems[-1].startswith("item 25 ('/in/19'): input_object is '/in/19', allowed: ")
        assert last == "the items after item 25 were not checked"

    def test_twenty_items_with_problems_may_be_all(self) -> None:
        assert len(refused(bulk([f"/in/{number}" for number in range(20)]))) == 20


class TestTheSameJobTwice:
    def test_both_items_are_named(self) -> None:
        assert refused(bulk(["in/a.mp3", "in/b.mp3", {"input_object": "in/a.mp3"}])) == (
            "item 3 ('in/a.mp3'): is the same job as item 1 ('in/a.mp3'), allowed: each job once",
        )

    def test_also_without_a_key_by_which_results_could_collide(self) -> None:
        (problem,) = refused(bulk(["in/a.mp3", "in/a.mp3"], voice_object="${jobid}"))
        assert "is the same job as item 1" in problem

    def test_one_input_may_have_several_jobs(self) -> None:
        items = [
            {"input_object": "in/a.mp3", "voice_object": f"{codec}/a.mp3", "codec": codec}
            for codec in ("aac", "mp3")
        ]
        assert len(items_of(bulk(items))) == 2

    def test_equal_digits_of_other_jobs_are_refused_with_the_reason(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk_items, "fingerprint", lambda *_: "0" * 64)
        (problem,) = refused(bulk(["in/a.mp3", "in/b.mp3"]))
        assert problem.startswith(
            "item 2 ('in/b.mp3'): has by chance the same fingerprint as item 1 ('in/a.mp3')"
        )
