"""Results of a bulk task that would overwrite each other or an input, or become inputs of the next run."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.bulk_items import BulkItems, read_items
from airflow_provider_ci.operators.bulk_job import TencentCIBulkJobOperator
from airflow_provider_ci.operators.bulk_sources import Selection
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from airflow_provider_ci.protocol.objects import ListedObject
from airflow_provider_ci.protocol.wire import Endpoint
from tests.unit.operators.bulk_operator import rendered

ENDPOINT = Endpoint(bucket="media-1250000001", region="ap-guangzhou")
OTHER_BUCKET = "results-1250000001"
LOG = logging.getLogger(__name__)


class ListingHook:
    """Lists objects that are not there."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = keys

    def list_objects(self, prefix: str, **_: Any) -> list[ListedObject]:
        return [ListedObject(key=key, size=5) for key in self._keys if key.startswith(prefix)]


def read(*items: Any, listed: Iterable[str] = (), manifest_object: Any = None, **arguments: Any) -> BulkItems:
    usual = {"audio_mode": "IsAudio", "codec": "mp3", "input_objects": [*items] or None}
    operator = rendered(VoiceSeparateBulkOperator, **(usual | arguments))
    hook: Any = ListingHook(listed)
    return read_items(operator, hook, ENDPOINT, LOG, manifest_object=manifest_object)


def refused(*items: Any, **arguments: Any) -> tuple[str, ...]:
    with pytest.raises(RequestValidationError) as caught:
        read(*items, **arguments)
    return tuple(caught.value.problems)


class TestResultsOfTwoItems:
    def test_both_are_named_with_the_key_and_the_bucket(self) -> None:
        (problem,) = refused("in/x/a.wav", "in/b.wav", "in/y/a.wav", voice_object="out/${InputName}.${ext}")
        assert problem == (
            "item 3 ('in/y/a.wav'): voice_object is 'out/a.mp3', allowed: another key than that of item 1"
            " ('in/x/a.wav') in bucket 'media-1250000001', or one result would overwrite the other; for"
            " instance one with ${jobid}, or with ${InputPath} and ${InputNameAndExt}"
        )

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"voice_object": "a.mp3"}, {"voice_object": "a.mp3"}),
            ({"voice_object": "a.mp3"}, {"voice_object": "a.${ext}"}),
            ({"voice_object": "a.${ext}"}, {"voice_object": "a.mp3"}),
            (
                {"voice_object": "b", "output_bucket": OTHER_BUCKET},
                {"voice_object": "b", "output_bucket": OTHER_BUCKET},
            ),
            ({"voice_object": "b", "output_bucket": ENDPOINT.bucket}, {"voice_object": "b"}),
            (
                {"voice_object": "a.mp3"},
                {"voice_object": "c", "background_object": "a.mp3", "audio_mode": "AudioAndBackground"},
            ),
        ],
    )
    def test_equal_keys_are_refused(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        (problem,) = refused({"input_object": "in/1", **first}, {"input_object": "in/2", **second})
        assert "another key than that of item 1 ('in/1') in bucket " in problem

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"voice_object": "a.mp3"}, {"voice_object": "A.mp3"}),
            ({"voice_object": "a.mp3"}, {"voice_object": "a.${ext}", "codec": "wav"}),
            ({"voice_object": "a.${ext}"}, {"voice_object": "a.${ext}", "codec": "wav"}),
            ({"voice_object": "${jobid}.mp3"}, {"voice_object": "${jobid}.mp3"}),
            ({"voice_object": "b"}, {"voice_object": "b", "output_bucket": OTHER_BUCKET}),
        ],
    )
    def test_keys_that_differ_are_accepted(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        assert len(read({"input_object": "in/1", **first}, {"input_object": "in/2", **second})) == 2

    @pytest.mark.parametrize(
        ("first", "second", "is_refused"),
        [
            ("a.${ext}", "a.${ext}", True),
            ("a.${ext}", "a.mp4", True),
            ("a.mp4", "a.${ext}", True),
            ("a.${ext}", "b.mp4", False),
            ("a.mp4", "a.mp3", False),
            ("b/a.${ext}", "a.mp4", False),
            ("a.${ext}", "a.d/b", False),
            ("a.${ext}", "a", False),
        ],
    )
    def test_an_extension_that_a_template_decides_may_be_any(
        self, first: str, second: str, is_refused: bool
    ) -> None:
        operator = rendered(
            TencentCIBulkJobOperator,
            tag="Transcode",
            operation={"TemplateId": "t1"},
            input_objects=[
                {"input_object": f"in/{number}", "operation": {"Output": {"Object": key}}}
                for number, key in enumerate((first, second))
            ],
        )
        hook: Any = None
        if is_refused:
            with pytest.raises(
                RequestValidationError, match=r"item 2 .*operation\.Output\.Object is '.*item 1"
            ):
                read_items(operator, hook, ENDPOINT, LOG)
        else:
            assert len(read_items(operator, hook, ENDPOINT, LOG)) == 2


class TestResultsAndInputs:
    def test_a_result_with_the_key_of_an_earlier_input(self) -> None:
        (problem,) = refused(
            "in/a.mp3", {"input_object": "in/b", "voice_object": "in/a.mp3"}, voice_object="${jobid}"
        )
        assert problem == (
            "item 2 ('in/b'): voice_object is 'in/a.mp3', allowed: another key than that of the input of"
            " item 1 ('in/a.mp3')"
        )

    def test_a_result_with_the_key_of_a_later_input(self) -> None:
        (problem,) = refused(
            {"input_object": "in/b", "voice_object": "in/a.mp3"}, "in/a.mp3", voice_object="${jobid}"
        )
        assert problem == (
            "item 2 ('in/a.mp3'): input_object is 'in/a.mp3', allowed: another key than that of a result of"
            " item 1 ('in/b'), which overwrites it"
        )

    def test_a_result_with_the_key_of_its_own_input(self) -> None:
        (problem,) = refused("in/a.mp3", voice_object="${InputPath}/${InputName}.${ext}")
        assert "voice_object is " in problem
        assert "allowed: another key than the input's, 'in/a.mp3'" in problem

    def test_in_another_bucket_it_is_another_object(self) -> None:
        result = {"input_object": "in/b", "voice_object": "in/a.mp3", "output_bucket": OTHER_BUCKET}
        assert len(read("in/a.mp3", result, voice_object="${jobid}")) == 2


class TestTheNextRun:
    LISTED = ("rec/a.wav", "rec/b.wav")

    @pytest.mark.parametrize(
        ("key", "arguments"),
        [
            ("rec/voice/${InputName}.mp3", {}),
            ("${InputPath}/${InputName}-voice.mp3", {}),
            ("rec/${jobid}.${ext}", {}),
            ("rec/${jobid}.${ext}", {"include": ["*.wav", "*.mp3"]}),
            ("rec/${jobid}.mp3", {"exclude": ["*.wav"], "include": ["*"]}),
            ("rec/${jobid}.mp3", {"exclude": ["rec/j*"]}),
            ("rec/${jobid}.mp3", {"include": ["*f.mp3", "*1.mp3", "*.wav"]}),
        ],
    )
    def test_results_that_it_would_take_are_refused(self, key: str, arguments: dict[str, Any]) -> None:
        listed = [*self.LISTED, "rec/c.flac"]
        problems = refused(prefix="rec/", listed=listed, voice_object=key, **arguments)
        assert problems
        for problem in problems:
            assert "voice_object is 'rec/" in problem
            assert problem.endswith(
                "allowed: a key that does not begin with the prefix 'rec/', that exclude matches, or in"
                " another bucket; or the next run would take it as an input"
            )

    @pytest.mark.parametrize(
        ("key", "arguments"),
        [
            ("out/${InputName}.mp3", {}),
            ("record/${InputName}.mp3", {}),
            ("${jobid}/rec/${InputName}", {}),
            ("rec/${InputName}.mp3", {"include": ["*.wav"]}),
            ("rec/voice/${InputName}.mp3", {"exclude": ["rec/voice/*"]}),
            ("rec/${jobid}.${ext}", {"include": ["*.wav"]}),
            ("rec/${InputName}.mp3", {"output_bucket": OTHER_BUCKET}),
        ],
    )
    def test_other_results_are_accepted(self, key: str, arguments: dict[str, Any]) -> None:
        assert len(read(prefix="rec/", listed=self.LISTED, voice_object=key, **arguments)) == 2

    def test_an_id_may_complete_the_prefix(self) -> None:
        problems = refused(prefix="rec/j", listed=["rec/jazz.wav"], voice_object="rec/${jobid}.mp3")
        assert "the next run would take it" in problems[0]


class TestTheManifest:
    @pytest.mark.parametrize(
        ("key", "message"),
        [
            ("in/a.mp3", "another key than that of the input of item 1 ('in/a.mp3')"),
            ("out/b.mp3", "another key than that of a result of item 2 ('in/b.mp3')"),
        ],
    )
    def test_it_must_not_overwrite_anything(self, key: str, message: str) -> None:
        assert refused(
            "in/a.mp3", "in/b.mp3", voice_object="out/${InputNameAndExt}", manifest_object=key
        ) == (f"manifest_object is {key!r}, allowed: {message}",)

    def test_the_next_run_must_not_take_it(self) -> None:
        (problem,) = refused(
            prefix="rec/", listed=["rec/a.wav"], voice_object="${jobid}", manifest_object="rec/m.jsonl"
        )
        assert problem.startswith("manifest_object is 'rec/m.jsonl', allowed: a key that does not begin with")
        accepted = read(
            prefix="rec/", listed=["rec/a.wav"], voice_object="${jobid}", manifest_object="rec/m.jsonl",
            exclude=["*.jsonl"],
        )  # fmt: skip
        assert len(accepted) == 1


class TestPatterns:
    @pytest.mark.parametrize("name", ["include", "exclude"])
    @pytest.mark.parametrize("value", ["*.mp3", 5, {"a": 1}, [""], [None], [["*"]]])
    def test_what_is_no_list_of_patterns_is_refused(self, name: str, value: Any) -> None:
        (problem,) = refused(prefix="rec/", listed=["rec/a"], voice_object="${jobid}", **{name: value})
        assert problem.startswith(f"{name} is {value!r}, allowed: a list of patterns such as '*.mp3'")

    @pytest.mark.parametrize("value", [None, "", [], ()])
    def test_no_pattern_is_needed(self, value: Any) -> None:
        assert len(read(prefix="rec/", listed=["rec/a"], voice_object="${jobid}", include=value)) == 1

    @pytest.mark.parametrize("prefix", ["/rec", "cos://media-1250000001/rec/", "rec\n"])
    def test_a_wrong_prefix_is_refused(self, prefix: str) -> None:
        (problem,) = refused(prefix=prefix, voice_object="${jobid}")
        assert problem.startswith(f"prefix is {prefix!r}, allowed: a prefix of object keys, ")


TEXTS = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "?", "[a]"]), max_size=4).map("".join)
KEYS = st.lists(st.sampled_from(["a", "b", "/", ".", "${jobid}", "${ext}"]), min_size=1, max_size=5).map(
    "".join
)


@given(st.lists(TEXTS.filter(bool), max_size=2), st.lists(TEXTS.filter(bool), max_size=2), TEXTS, KEYS)
def test_a_selection_takes_what_the_patterns_match(
    include: list[str], exclude: list[str], prefix: str, key: str
) -> None:
    expected = (
        key.startswith(prefix)
        and not key.endswith("/")
        and (not include or any(fnmatchcase(key, pattern) for pattern in include))
        and not any(fnmatchcase(key, pattern) for pattern in exclude)
    )
    assert Selection(prefix, tuple(include), tuple(exclude)).takes(key) is expected


@given(
    st.lists(TEXTS.filter(bool), max_size=2),
    TEXTS.filter(bool),
    KEYS,
    st.sampled_from(["mp3", "wav", "aac"]),
)
def test_a_result_that_a_selection_takes_is_foreseen(
    exclude: list[str], prefix: str, key: str, extension: str
) -> None:
    selection = Selection(prefix, exclude=tuple(exclude))
    real = key.replace("${jobid}", "j" + "0123456789abcdef" * 2).replace("${ext}", extension)
    if selection.takes(real) and not any("[" in pattern for pattern in exclude):
        assert selection.may_take(key)


NAMES = ["a.mp3", "b.mp3", "a.wav"]
ITEMS = st.fixed_dictionaries(
    {
        "input_object": st.sampled_from(
            [f"{folder}{name}" for folder in ("", "in/", "out/") for name in NAMES]
        ),
        "voice_object": st.sampled_from(
            [
                *("${InputName}.${ext}", "out/${InputNameAndExt}", "out/${InputName}.${ext}", "out/a.mp3"),
                *("${jobid}.mp3", "in/${jobid}.${ext}", "in/v-${InputName}.mp3", "in/${InputName}.wav"),
            ]
        ),
        "codec": st.sampled_from(["mp3", "wav"]),
    },
    optional={"output_bucket": st.sampled_from([ENDPOINT.bucket, OTHER_BUCKET])},
)


@given(st.lists(ITEMS, min_size=1, max_size=4))
def test_exactly_the_runs_that_lose_nothing_are_accepted(items: list[dict[str, str]]) -> None:
    """Compare with the objects that would be there after all jobs."""
    try:
        read(*items)
        is_accepted = True
    except RequestValidationError:
        is_accepted = False
    inputs = {(ENDPOINT.bucket, item["input_object"]) for item in items}
    results = [written_object(number, item) for number, item in enumerate(items)]
    requests = [{"output_bucket": ENDPOINT.bucket, **item} for item in items]
    is_once = all(request not in requests[:number] for number, request in enumerate(requests))
    assert is_accepted is (is_once and len(set(results)) == len(items) and not inputs & set(results))


def written_object(number: int, item: dict[str, str]) -> tuple[str, str]:
    name = item["input_object"].rpartition("/")[2]
    values = {
        "${InputNameAndExt}": name,
        "${InputName}": name.rpartition(".")[0],
        "${ext}": item["codec"],
        "${jobid}": f"j{number}",
    }
    key = item["voice_object"]
    for placeholder, value in values.items():
        key = key.replace(placeholder, value)
    return item.get("output_bucket", ENDPOINT.bucket), key
