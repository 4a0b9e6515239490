"""The inputs of a bulk task, on the emulator: which are taken, what is wrong with them, how long they are."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import (
    NotFoundError,
    RequestValidationError,
    TaskKilledError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators.bulk_cost import MediaLength, estimate_length, refuse_too_many_minutes
from airflow_provider_ci.operators.bulk_inputs import check_inputs
from airflow_provider_ci.operators.bulk_items import BulkItems, read_items
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from tencent_ci_emulator.server import Emulator
from tests.recording import SHORT, SHORT_SECONDS
from tests.unit.operators.bulk_operator import rendered

LOG = logging.getLogger("tests.bulk")
HERE: Any = {"bucket": None, "region": None}
Put = Callable[..., None]


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    yield hook
    hook.close()


@pytest.fixture
def put(hook: TencentCIHook, tmp_path: Path) -> Put:
    def put(*keys: str, content: bytes = b"x") -> None:
        path = tmp_path / "upload"
        path.write_bytes(content)
        for key in keys:
            hook.upload_file(path, key)

    return put


def not_killed() -> None:
    pass


def read(hook: TencentCIHook, **arguments: Any) -> BulkItems:
    usual = {"audio_mode": "IsAudio", "voice_object": "out/${InputPath}/${InputNameAndExt}.${ext}"}
    operator = rendered(VoiceSeparateBulkOperator, **(usual | arguments))
    return read_items(operator, hook, hook.settings.endpoint(), LOG)


def keys_of(items: BulkItems) -> list[str | None]:
    return [items.input_object(index) for index in range(len(items))]


def check(hook: TencentCIHook, items: BulkItems, indexes: Sequence[int] | None = None) -> None:
    check_inputs(items, range(len(items)) if indexes is None else indexes, hook, HERE, not_killed)


def estimate(hook: TencentCIHook, items: BulkItems, samples: int | str) -> MediaLength:
    return estimate_length(items, range(len(items)), samples, hook, HERE, not_killed, LOG)


class TestPrefix:
    def test_objects_are_taken_by_patterns_for_the_whole_key(self, hook: TencentCIHook, put: Put) -> None:
        put("in/a.mp3", "in/b.wav", "in/deep/c.mp3", "in/deep/skip-d.mp3", "in/E.MP3", "other/a.mp3")
        assert keys_of(read(hook, prefix="in/", include=["*.mp3", "in/b.*"], exclude=["*/skip-*"])) == [
            *("in/a.mp3", "in/b.wav", "in/deep/c.mp3"),
        ]

    def test_folders_are_no_inputs(self, hook: TencentCIHook, put: Put) -> None:
        put("in/", "in/deep/", content=b"")
        put("in/a.mp3")
        assert keys_of(read(hook, prefix="in/")) == ["in/a.mp3"]

    @pytest.mark.parametrize(
        ("arguments", "total"),
        [({"prefix": "none/"}, 0), ({"include": ["*.wav"]}, 2), ({"exclude": ["in/*"]}, 2)],
    )
    def test_if_none_is_taken_a_retry_may_find_some(
        self, hook: TencentCIHook, put: Put, arguments: dict[str, Any], total: int
    ) -> None:
        put("in/", "in/a.mp3")
        with pytest.raises(
            NotFoundError, match=f"of the {total} objects under the prefix '(in|none)/', none is taken. Check"
        ):
            read(hook, **{"prefix": "in/", **arguments})

    def test_too_many_objects_are_refused(self, hook: TencentCIHook, put: Put) -> None:
        put("in/a", "in/b", "in/c")
        assert len(read(hook, prefix="in/", max_jobs=3)) == 3
        with pytest.raises(
            RequestValidationError,
            match=r"prefix 'in/' has more than 2 items, allowed: at most 2 \(max_jobs\)",
        ):
            read(hook, prefix="in/", max_jobs=2)


class TestInputManifest:
    def test_its_lines_are_the_items(self, hook: TencentCIHook, put: Put) -> None:
        put("m.jsonl", content=b'in/a.mp3\n{"input_object": "in/b.mp3", "voice_object": "b.mp3"}\n')
        items = read(hook, input_manifest="m.jsonl")
        assert keys_of(items) == ["in/a.mp3", "in/b.mp3"]
        assert items.request(1)["Operation"]["Output"]["AuObject"] == "b.mp3"

    def test_an_empty_one_is_refused(self, hook: TencentCIHook, put: Put) -> None:
        put("m.jsonl", content=b"\n\n")
        with pytest.raises(RequestValidationError, match=r"input_manifest 'm\.jsonl' has no lines"):
            read(hook, input_manifest="m.jsonl")

    def test_a_result_must_not_overwrite_it(self, hook: TencentCIHook, put: Put) -> None:
        put("m.jsonl", content=b"in/a.mp3\n")
        with pytest.raises(RequestValidationError, match="allowed: another key than that of input_manifest"):
            read(hook, input_manifest="m.jsonl", voice_object="m.jsonl")


class TestCheckInputs:
    def test_inputs_that_are_absent_or_empty_are_named(self, hook: TencentCIHook, put: Put) -> None:
        put("in/a.mp3", "in/b.mp3")
        put("in/empty.mp3", content=b"")
        items = read(hook, input_objects=["in/a.mp3", "in/absent.mp3", "in/empty.mp3", "in/b.mp3"])
        with pytest.raises(RequestValidationError) as caught:
            check(hook, items)
        assert str(caught.value) == (
            "No job was submitted by this try, because of its input objects: 'in/absent.mp3' does not exist;"
            " 'in/empty.mp3' is empty. Check bucket, region and keys, and that the upload has finished"
        )

    def test_only_the_items_that_are_to_be_submitted_count(self, hook: TencentCIHook, put: Put) -> None:
        put("in/b.mp3")
        items = read(hook, input_objects=["in/absent.mp3", "in/b.mp3"])
        check(hook, items, [1])
        check(hook, items, [])

    def test_the_first_twenty_are_named(self, hook: TencentCIHook, emulator: Emulator) -> None:
        items = read(hook, input_objects=[f"in/{number:03}" for number in range(600)])
        with pytest.raises(RequestValidationError, match=r"there may be more\. Check") as caught:
            check(hook, items)
        assert emulator.ledger.count("head_object") < 600
        assert str(caught.value).count("does not exist") == 20
        assert "'in/019' does not exist; there may be more" in str(caught.value)

    def test_an_input_of_several_items_is_looked_at_once(
        self, hook: TencentCIHook, put: Put, emulator: Emulator
    ) -> None:
        put("in/a.mp3")
        items = read(
            hook,
            input_objects=[{"input_object": "in/a.mp3", "voice_object": f"out/{n}.mp3"} for n in range(5)],
        )
        check(hook, items)
        assert emulator.ledger.count("head_object") == 1

    def test_the_list_of_a_prefix_shows_what_is_empty(
        self, hook: TencentCIHook, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put("in/a.mp3", "in/b.mp3")
        put("in/c.mp3", content=b"")
        items = read(hook, prefix="in/")
        monkeypatch.setattr(hook, "head_object", None)  # is not called
        check(hook, items, [0, 1])
        with pytest.raises(RequestValidationError, match=r"'in/c\.mp3' is empty\. Check"):
            check(hook, items)

    def test_a_killed_task_looks_no_further(self, hook: TencentCIHook, put: Put) -> None:
        put("in/a.mp3")
        items = read(hook, input_objects=["in/a.mp3"])

        def killed() -> None:
            raise TaskKilledError("killed")

        with pytest.raises(TaskKilledError):
            check_inputs(items, [0], hook, HERE, killed)


class TestLength:
    def test_of_all_inputs(self, hook: TencentCIHook, put: Put) -> None:
        put("in/a.mp3", "in/b.mp3", content=SHORT.read_bytes())
        length = estimate(hook, read(hook, prefix="in/"), "all")
        assert (length.items, length.measured) == (2, 2)
        assert length.minutes == pytest.approx(2 * SHORT_SECONDS / 60, rel=0.1)

    def test_of_a_sample(self, hook: TencentCIHook, put: Put, emulator: Emulator) -> None:
        keys = [f"in/{number}.mp3" for number in range(10)]
        put(*keys, content=SHORT.read_bytes())
        length = estimate(hook, read(hook, input_objects=keys), 3)
        assert (length.items, length.measured) == (10, 3)
        assert length.minutes == pytest.approx(10 * SHORT_SECONDS / 60, rel=0.1)
        assert emulator.ledger.count("media_info") == 3

    def test_an_input_of_several_items_is_measured_once_and_counts_for_each(
        self, hook: TencentCIHook, put: Put, emulator: Emulator
    ) -> None:
        put("in/a.mp3", content=SHORT.read_bytes())
        items = [{"input_object": "in/a.mp3", "voice_object": f"out/{n}.mp3"} for n in range(3)]
        length = estimate(hook, read(hook, input_objects=items), "all")
        assert (length.items, length.measured) == (3, 3)
        assert length.minutes == pytest.approx(3 * SHORT_SECONDS / 60, rel=0.1)
        assert emulator.ledger.count("media_info") == 1

    def test_inputs_that_cannot_be_measured_count_as_the_others(
        self, hook: TencentCIHook, put: Put, caplog: pytest.LogCaptureFixture
    ) -> None:
        put("in/a.mp3", content=SHORT.read_bytes())
        put("in/b.mp3", content=b"no media file")
        length = estimate(hook, read(hook, input_objects=["in/a.mp3", "in/absent.mp3", "in/b.mp3"]), "all")
        assert (length.items, length.measured) == (3, 1)
        assert length.minutes == pytest.approx(3 * SHORT_SECONDS / 60, rel=0.1)
        (warning,) = [each.getMessage() for each in caplog.records if each.name == LOG.name]
        assert warning.startswith("The length of 2 of 3 inputs is unknown and taken as the average")

    def test_if_none_can_be_measured_the_error_is_the_first_one(self, hook: TencentCIHook) -> None:
        with pytest.raises(NotFoundError):
            estimate(hook, read(hook, input_objects=["in/absent.mp3"]), "all")

    def test_addresses_have_none(self, hook: TencentCIHook) -> None:
        item = {"input_url": "https://example.com/a.mp3", "voice_object": "a.mp3"}
        assert estimate(hook, read(hook, input_objects=[item]), "all") == MediaLength(1, None, 0)

    def test_nothing_to_submit_has_no_length(self, hook: TencentCIHook) -> None:
        items = read(hook, input_objects=["in/a.mp3"])
        assert estimate_length(items, [], 20, hook, HERE, not_killed, LOG) == MediaLength(0, 0.0, 0)


class TestMaxMinutes:
    def test_at_most_so_many_are_accepted(self) -> None:
        refuse_too_many_minutes(MediaLength(10, 60.0, 10), 60)
        refuse_too_many_minutes(MediaLength(10, None, 0), None)

    def test_more_are_refused(self) -> None:
        with pytest.raises(
            RequestValidationError,
            match=r"the inputs have about 60\.1 minutes of media \(9 of 10 measured\), allowed: at most 60 ",
        ):
            refuse_too_many_minutes(MediaLength(10, 60.1, 9), 60)
        with pytest.raises(RequestValidationError, match=r"the inputs have 60\.1 minutes"):
            refuse_too_many_minutes(MediaLength(10, 60.1, 10), 60)

    def test_an_unknown_number_is_refused(self) -> None:
        with pytest.raises(
            RequestValidationError, match="max_minutes is 5, allowed: None, because the length"
        ):
            refuse_too_many_minutes(MediaLength(10, None, 0), 5)
