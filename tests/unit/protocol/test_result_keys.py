"""What the keys of results become: misspelt placeholders, limits of COS, and keys that can be alike."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_ci.protocol.result_keys import (
    INPUT_PLACEHOLDERS,
    KnownInputs,
    can_begin_with,
    can_equal,
    cos_problem,
    differs_between_inputs,
    key_of_url,
    key_pattern,
    may_be_equal,
    placeholder_problem,
    replace_input_placeholders,
)
from tencent_ci_emulator.jobs.job_output import JobAtWork, expand_placeholders
from tencent_ci_emulator.jobs.job_store import StoredJob

JOB = KnownInputs(object="in/song.mp3")
BATCH = KnownInputs(is_batch=True, prefix="in/")
BULK = KnownInputs(replaced_before=INPUT_PLACEHOLDERS)
JOB_ID = "j8d121820f5e411ec926ef19d53ba9c6f"


class TestPlaceholders:
    @pytest.mark.parametrize(
        "key",
        [
            "out/${jobid}/voice.${ext}",
            "US$5.mp3",
            "a$b",
            "${",
            "a${b",
            "a{b}c",
            "{}",
            "a<b>c",
            "<>",
            "%",
            "50%ext",
            "100%%",
            "%(a)s",
            "%7Ba%7D",
            "$extra/a",
            "$RECYCLE.BIN/a",
            "{0}",
        ],
    )
    def test_those_of_a_job_and_literal_dollars_and_braces(self, key):
        assert placeholder_problem(key, JOB) is None
        assert placeholder_problem(key, BATCH) is None

    def test_those_of_a_batch_job(self):
        key = "out/${InventoryTriggerJobId}/${InputPath}/${InputName}-${InputNameAndExt}-${jobid}.${ext}"
        assert placeholder_problem(key, BATCH) is None

    @pytest.mark.parametrize(
        ("key", "meant"),
        [
            ("out/${JobId}.mp3", "${jobid}"),
            ("out/${Jobid}.mp3", "${jobid}"),
            ("out/${JOB_ID}.mp3", "${jobid}"),
            ("out/${job-id}.mp3", "${jobid}"),
            ("out/${jobid }.mp3", "${jobid}"),
            ("out/${ jobid}.mp3", "${jobid}"),
            ("out/a.${Ext}", "${ext}"),
            ("out/$jobid.mp3", "${jobid}"),
            ("out/$JobId/v.mp3", "${jobid}"),
            ("out/{jobid}.mp3", "${jobid}"),
            ("out/$(jobid).mp3", "${jobid}"),
            ("out/${jobid.mp3", "${jobid}"),
            ("out/%{ext}", "${ext}"),
            ("out/v.$ext", "${ext}"),
            ("out/＄｛jobid｝.mp3", "${jobid}"),
            ("out/${ｊobid}.mp3", "${jobid}"),
            ("out/<jobid>.mp3", "${jobid}"),
            ("out/< JobId >.mp3", "${jobid}"),
            ("out/＜jobid＞.mp3", "${jobid}"),
            ("out/%jobid%.mp3", "${jobid}"),
            ("out/％JOB_ID％.mp3", "${jobid}"),
            ("out/%(jobid)s.mp3", "${jobid}"),
            ("out/%24%7Bjobid%7D.mp3", "${jobid}"),
            ("out/$%7bjobid%7d.mp3", "${jobid}"),
            ("out/v.<ext>", "${ext}"),
            ("out/v.%ext%", "${ext}"),
        ],
    )
    def test_misspelt_ones_are_named(self, key, meant):
        for inputs in (JOB, BATCH):
            said = placeholder_problem(key, inputs)
            assert said is not None
            assert said.startswith(f"{meant}, spelt exactly so, instead of ")

    @pytest.mark.parametrize(
        "written",
        [
            *("${inputname}", "$InputName", "{InputName}", "${input_name}", "${INPUTNAME}"),
            *("<InputName>", "%inputname%", "%(InputName)s"),
        ],
    )
    def test_misspelt_ones_of_a_batch(self, written):
        said = placeholder_problem(f"out/{written}-${{jobid}}", BATCH)
        assert said is not None
        assert said.startswith("${InputName}, spelt exactly so")

    @pytest.mark.parametrize("name", ["InputName", "inputname", "InputPath", "InventoryTriggerJobId"])
    def test_those_of_a_batch_are_none_of_a_job(self, name):
        said = placeholder_problem(f"out/${{{name}}}", JOB)
        assert said is not None
        assert said.startswith("the placeholders of a job: ${jobid}, ${ext}; ${I")
        assert "is for batch jobs" in said

    @pytest.mark.parametrize("name", ["Number", "Time", "RunId", "extension", "foo", "", " "])
    def test_what_the_service_would_take_literally(self, name):
        for inputs in (JOB, BATCH):
            said = placeholder_problem(f"out/${{{name}}}.mp3", inputs)
            assert said is not None
            assert f"${{{name}}} is none, and would be taken literally" in said


class TestPlaceholdersOfTheInput:
    """In the keys of a bulk task's jobs, where the provider replaces them."""

    @pytest.mark.parametrize(
        ("input_key", "path", "name", "name_and_extension"),
        [
            ("in/2025/song.mp3", "in/2025", "song", "song.mp3"),
            ("song.mp3", "", "song", "song.mp3"),
            ("in/song", "in", "song", "song"),
            ("in/a.b.mp3", "in", "a.b", "a.b.mp3"),
            ("in.d/song", "in.d", "song", "song"),
            ("in/.mp3", "in", ".mp3", ".mp3"),
            ("in/song.", "in", "song", "song."),
            ("a//b.mp3", "a/", "b", "b.mp3"),
            ("in/${ext}${InputPath}.mp3", "in", "${ext}${InputPath}", "${ext}${InputPath}.mp3"),
        ],
    )
    def test_they_are_replaced_once(self, input_key, path, name, name_and_extension):
        assert replace_input_placeholders("${InputPath}", input_key) == path
        assert replace_input_placeholders("${InputName}", input_key) == name
        assert replace_input_placeholders("${InputNameAndExt}", input_key) == name_and_extension
        both = replace_input_placeholders("a/${InputName}-${InputName}.${ext}-${jobid}", input_key)
        assert both == f"a/{name}-{name}.${{ext}}-${{jobid}}"

    @pytest.mark.parametrize("text", ["${inputname}", "$InputName", "{InputName}", "${ext}", "${Other}", "$"])
    def test_nothing_else_is_replaced(self, text):
        assert replace_input_placeholders(text, "in/song.mp3") == text

    @pytest.mark.parametrize(
        ("url", "key"),
        [
            ("https://example.com/in/a%20b%2Fc.mp3?sign=x/y#z", "in/a b/c.mp3"),
            ("https://media-1250000001.cos.ap-guangzhou.myqcloud.com/%E5%A3%B0.mp3", "声.mp3"),
            ("http://example.com", ""),
            ("http://example.com//a.mp3", "a.mp3"),
        ],
    )
    def test_of_an_address_the_path_counts(self, url, key):
        assert key_of_url(url) == key

    @pytest.mark.parametrize("name", ["InputName", "InputNameAndExt", "InputPath"])
    def test_they_are_right_only_where_they_are_replaced(self, name):
        assert placeholder_problem(f"${{{name}}}", BULK) is None
        assert "is for batch jobs: write the name itself" in str(placeholder_problem(f"${{{name}}}", JOB))

    @pytest.mark.parametrize(
        ("key", "allowed"),
        [
            ("${inputName}", "${InputName}, spelt exactly so, instead of ${inputName}, which"),
            ("$InputNameAndExt", "${InputNameAndExt}, spelt exactly so, instead of $InputNameAndExt, which"),
            ("<input path>", "${InputPath}, spelt exactly so, instead of <input path>, which"),
            ("${Name}", "the placeholders of a job: ${jobid}, ${ext}, ${InputName}, ${InputNameAndExt},"),
            ("${InventoryTriggerJobId}", "the placeholders of a job: ${jobid}, ${ext}, ${InputName}, "),
        ],
    )
    def test_a_misspelt_one_is_found(self, key, allowed):
        assert str(placeholder_problem(f"out/{key}.mp3", BULK)).startswith(allowed)

    def test_of_a_type_without_documented_placeholders_only_these_are_known(self):
        inputs = KnownInputs(job_placeholders=None, replaced_before=INPUT_PLACEHOLDERS)
        assert placeholder_problem("${InputName}/${JobId}/${other}", inputs) is None
        assert "${InputPath}, spelt exactly so" in str(placeholder_problem("{InputPath}", inputs))

    @given(
        st.lists(st.sampled_from(["a", ".", "/", "-", "声", "Input", "{", "}"]), min_size=1).map("".join),
        st.lists(
            st.sampled_from(
                ["${InputName}", "${InputNameAndExt}", "${InputPath}", "${jobid}", "${ext}", "${x}", "a", "/"]
            )
        ).map("".join),
    )
    def test_a_batch_job_of_the_emulator_makes_the_same_keys(self, input_key, key):
        replaced = replace_input_placeholders(key, input_key)
        assert expand_placeholders(stored_job(input_key, None), replaced, "mp3") == expand_placeholders(
            stored_job(input_key, "b1"), key, "mp3"
        )


def stored_job(input_key, batch_id):
    values = dict.fromkeys(field.name for field in fields(StoredJob))
    return JobAtWork(**{**values, "id": JOB_ID, "input_object": input_key, "batch_id": batch_id})


class TestLimitsOfCos:
    def problem(self, key, inputs=JOB, extension="mp3"):
        return cos_problem(key, inputs, extension)

    def test_the_longest_key(self):
        assert self.problem("x" * 850) is None
        said = self.problem("x" * 851)
        assert said is not None
        assert said.startswith("a key of at most 850 bytes in UTF-8")
        assert said.endswith("this one has 851")

    def test_bytes_count_not_characters(self):
        assert self.problem("声" * 283 + "x") is None
        assert "has 852" in str(self.problem("声" * 284))

    @pytest.mark.parametrize(
        ("key", "length"),
        [("${jobid}", 33), ("${ext}", 3), ("${jobid}.${ext}", 37), ("${jobid}${jobid}", 66)],
    )
    def test_placeholders_count_as_what_they_become(self, key, length):
        assert self.problem("x" * (850 - length) + key) is None
        assert f"has {851}" in str(self.problem("x" * (851 - length) + key))

    def test_what_is_not_known_counts_with_the_least_that_it_can_be(self):
        key = "x" * 848 + "${InputName}" + "${ext}"
        assert self.problem(key, BATCH, None) is None
        assert "has at least 851" in str(self.problem("x" + key, BATCH, None))

    def test_the_name_of_the_only_input_is_known(self):
        only = KnownInputs(is_batch=True, object="in/deep/song.mp3")
        assert self.problem("x" * 842 + "${InputNameAndExt}", only) is None
        assert "has 851" in str(self.problem("x" * 843 + "${InputNameAndExt}", only))
        assert "has 851" in str(self.problem("x" * 844 + "${InputPath}", only))

    def test_the_folder_of_the_prefix_is_known(self):
        deep = KnownInputs(is_batch=True, prefix="f" * 100 + "/rec")
        assert self.problem("x" * 749 + "/${InputPath}", deep) is None
        assert "at least 851" in str(self.problem("x" * 750 + "/${InputPath}", deep))

    def test_keys_that_are_too_long_are_not_compared(self):
        long = key_pattern("${InputName}" + "a" * 100_000, BATCH, "mp3")
        assert not can_begin_with(long, "a" * 800)
        assert not can_equal(long, "a" * 800)
        assert not can_begin_with(key_pattern("${InputPath}", BATCH, "mp3"), "in/" + "a" * 100_000)

    @pytest.mark.parametrize("key", ["out/.", "out/..", ".", "..", "out/${jobid}/.", "\\out", "a%0A%0Db"])
    def test_keys_that_cos_rejects(self, key):
        assert self.problem(key) is not None

    @pytest.mark.parametrize("key", ["out/.hidden", "out/a.", "out/...", "a\\b", "a/./b", "..a", "50%.mp3"])
    def test_what_it_does_not(self, key):
        assert self.problem(key) is None

    @pytest.mark.parametrize(
        ("inputs", "refused"),
        [
            (KnownInputs(is_batch=True, prefix="rec"), True),
            (KnownInputs(is_batch=True, prefix="rec/"), False),
            (KnownInputs(is_batch=True, object="song.mp3"), True),
            (KnownInputs(is_batch=True, object="in/song.mp3"), False),
            (KnownInputs(is_batch=True), False),
        ],
    )
    def test_an_input_without_a_folder(self, inputs, refused):
        said = self.problem("${InputPath}/${InputNameAndExt}", inputs)
        assert (said is not None) == refused
        assert said is None or "does not begin with /" in said


class TestAlike:
    @pytest.mark.parametrize(
        ("one", "other", "extension", "alike"),
        [
            ("out/a.${ext}", "out/a.mp3", "mp3", True),
            ("out/a.${ext}", "out/a.mp3", "wav", False),
            ("out/a.${ext}", "out/a.mp3", None, True),
            ("out/a.${ext}", "out/a.txt", None, False),
            ("${jobid}.${ext}", "${jobid}.flac", "flac", True),
            ("${jobid}/a", "${jobid}/b", "mp3", False),
        ],
    )
    def test_the_results_of_one_job(self, one, other, extension, alike):
        assert may_be_equal(one, other, JOB, extension) == alike
        assert may_be_equal(other, one, JOB, extension) == alike

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("out/${jobid}/${InputName}.${ext}", "out/${jobid}/background.${ext}"),
            ("${jobid}-${InputNameAndExt}", "${jobid}-x.wav"),
            ("${jobid}/${InputName}.mp3", "${jobid}/${InputNameAndExt}"),
            ("${jobid}/${InputName}.wav.mp3", "${jobid}/${InputNameAndExt}.mp3"),
            ("${jobid}/${InputNameAndExt}", "${jobid}/${InputName}.voice.${ext}"),
            ("out/${InputPath}/${jobid}", "out/rec/monday/${jobid}"),
            ("out/${InputPath}/a-${jobid}", "out/${InputPath}/${InputName}-${jobid}"),
            ("${InventoryTriggerJobId}/${jobid}/${InputName}", "${InventoryTriggerJobId}/${jobid}/x"),
            ("${jobid}.${ext}", "${jobid}.mp3"),
        ],
    )
    def test_the_results_of_one_job_of_a_batch(self, one, other):
        inputs = KnownInputs(is_batch=True, prefix="rec/")
        for extension in ("mp3", None):
            assert may_be_equal(one, other, inputs, extension)
            assert may_be_equal(other, one, inputs, extension)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("out/${jobid}/${InputName}-voice.${ext}", "out/${jobid}/${InputName}-background.${ext}"),
            ("voice/${InputPath}/${jobid}/${InputName}", "background/${InputPath}/${jobid}/${InputName}"),
            ("${InputPath}/voice/${InputName}-${jobid}", "${InputPath}/rest/${InputName}-${jobid}"),
            ("${jobid}/v${InputName}", "${jobid}/${InputName}"),
            ("${jobid}/${InputName}", "${jobid}/${InputName}x"),
            ("${jobid}/${InputNameAndExt}", "${jobid}/${InputName}-background.${ext}"),
            ("${jobid}/${InputNameAndExt}", "${jobid}/${InputNameAndExt}.${ext}"),
            ("${jobid}-${InputName}", "${InputName}-${jobid}"),
            ("${jobid}/${InputName}", "${InventoryTriggerJobId}/${jobid}"),
            ("${jobid}/${InputName}", f"${{jobid}}/a/{JOB_ID}"),
            ("${InputName}-${jobid}/voice", "${InputName}-${jobid}/background"),
        ],
    )
    def test_the_results_of_one_job_of_a_batch_that_never_meet(self, one, other):
        inputs = KnownInputs(is_batch=True, prefix="rec/")
        for extension in ("mp3", None):
            assert not may_be_equal(one, other, inputs, extension)
            assert not may_be_equal(other, one, inputs, extension)

    def test_the_only_input_of_a_batch_is_known(self):
        def alike(input_object):
            inputs = KnownInputs(is_batch=True, object=input_object)
            return may_be_equal("${jobid}/${InputNameAndExt}", "${jobid}/a.wav", inputs, "mp3")

        assert alike("in/a.wav")
        assert not alike("in/b.wav")

    def test_a_new_id_is_none_that_is_known(self):
        assert not can_equal(key_pattern("out/${jobid}.mp3", JOB, "mp3"), f"out/{JOB_ID}.mp3")
        assert not can_begin_with(key_pattern("out/${jobid}/voice.mp3", BATCH, "mp3"), f"out/{JOB_ID}/")

    @pytest.mark.parametrize(
        ("key", "prefix", "may"),
        [
            ("${InputName}-voice.${ext}", "rec", True),
            ("${InputNameAndExt}", "rec", True),
            ("${InputName}-voice.${ext}", "rec/", False),
            ("${InputName}/voice.${ext}", "rec/", True),  # of rec/rec.mp3
            ("${InputPath}/x", "rec/", True),
            ("out${InputPath}/x", "rec/", False),
            ("out/${InputName}", "rec", False),
            ("rec/${jobid}", "rec/", True),
            ("re${InputName}", "rec", True),
            ("${jobid}.mp3", "j", True),
            ("${jobid}.mp3", "j8d", True),
            ("${jobid}.mp3", "j8d/", False),
            ("${jobid}.mp3", "in", False),
            ("${InventoryTriggerJobId}/x", "b", True),
            ("${ext}/x", "mp", True),
            ("${ext}/x", "rec", False),
            ("rec", "rec/", False),
        ],
    )
    def test_keys_among_the_inputs(self, key, prefix, may):
        inputs = KnownInputs(is_batch=True, prefix=prefix)
        assert can_begin_with(key_pattern(key, inputs, "mp3"), prefix) == may


FOLDERS = ("a", "a/b", "a/bc", "ab", "")
FILES = ("b", "c.mp3", "c.wav", "bc.mp3", "a")
PARTS = ("${InputPath}", "${InputNameAndExt}", "${InputName}", "/", "-", "b", "${ext}")
WITH_IDS = (*PARTS, "${jobid}", "${InventoryTriggerJobId}", "bc.mp3")


@given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("".join))
def test_a_key_that_is_called_its_own_differs_between_all_inputs(key):
    if not differs_between_inputs(key):
        return
    inputs = [f"{folder}/{name}".removeprefix("/") for folder, name in itertools.product(FOLDERS, FILES)]
    keys = [substituted(key, each) for each in inputs]
    assert len(set(keys)) == len(set(inputs)), key


@given(
    st.lists(st.sampled_from(WITH_IDS), min_size=1, max_size=5).map("".join),
    st.lists(st.sampled_from(WITH_IDS), min_size=1, max_size=5).map("".join),
)
def test_keys_that_are_said_never_to_meet_do_not(one, other):
    inputs = KnownInputs(is_batch=True, prefix="")
    if may_be_equal(one, other, inputs, "mp3"):
        return
    names = [f"{folder}/{name}".removeprefix("/") for folder, name in itertools.product(FOLDERS, FILES)]
    assert not {substituted(one, each) for each in names} & {substituted(other, each) for each in names}


def substituted(key: str, input_object: str) -> str:
    folder, _, name = input_object.rpartition("/")
    values = {
        "${jobid}": f"j{hashlib.md5(input_object.encode()).hexdigest()}",
        "${InventoryTriggerJobId}": f"b{'0' * 32}",
        "${InputPath}": folder,
        "${InputNameAndExt}": name,
        "${InputName}": name.rpartition(".")[0] or name,
        "${ext}": "mp3",
    }
    for placeholder, value in values.items():
        key = key.replace(placeholder, value)
    return key
