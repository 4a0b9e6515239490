"""The key in UserData, the digest of a request, and which job belongs to a request."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from airflow_provider_ci.protocol.batches import BatchJob
from airflow_provider_ci.protocol.fields import DefaultName
from airflow_provider_ci.protocol.job_rules import USER_DATA_MAX
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.tree import Tree, find_text, with_value
from airflow_provider_ci.protocol.xml import parse_document, read, tree_to_bytes
from airflow_provider_ci.submission.idempotency_key import (
    ParsedKey,
    TaskIdentity,
    fingerprint,
    is_job_of,
    with_user_data,
)
from tests.unit.submission.simulated_world import (
    BATCH,
    IDENTITY,
    OWN_BATCH,
    OWN_DATA,
    PLACE,
    REQUEST,
    World,
    submission,
)


def parsed(identity: TaskIdentity, who_waits: str = "nobody") -> ParsedKey:
    key = ParsedKey.parse(identity.idempotency_key("f" * 64, who_waits))
    assert key is not None
    return key


class TestParsedKey:
    def test_is_readable_and_within_the_limits(self) -> None:
        key = IDENTITY.idempotency_key("ab" * 32, "worker")
        assert "dag=separate run=manual__2027-01-15T08:00:00+00:00 task=submit map=-1 " in key
        assert " deployment=prod " in key
        assert " max_tries=3 waits=worker request=abababababab " in key
        for identity in (
            IDENTITY,
            TaskIdentity("d" * 999, "r" * 999, "t" * 999, 10**9, "p" * 999, 10**9),
            TaskIdentity("分离", "ru n\n", "\ud800", -1, "", 0),
        ):
            text = identity.idempotency_key("f" * 64, "worker")
            assert len(text) <= USER_DATA_MAX
            assert text.isascii()
            assert text.isprintable()

    @pytest.mark.parametrize(
        "other",
        [
            IDENTITY._replace(dag_id="separat"),
            IDENTITY._replace(run_id="x"),
            IDENTITY._replace(task_id="x"),
            IDENTITY._replace(map_index=0),
            IDENTITY._replace(deployment="staging"),
            IDENTITY._replace(max_tries=4),
        ],
    )
    def test_differs_between_task_instances(self, other: TaskIdentity) -> None:
        assert not parsed(IDENTITY).is_same_request(parsed(other))
        assert parsed(IDENTITY).is_same_request(parsed(IDENTITY._replace()))

    def test_does_not_depend_on_who_waits(self) -> None:
        assert parsed(IDENTITY, who_waits="worker").is_same_request(parsed(IDENTITY, who_waits="triggerer"))

    def test_differs_between_submissions(self) -> None:
        assert parsed(IDENTITY).nonce != parsed(IDENTITY).nonce

    def test_differs_where_shortening_makes_ids_alike(self) -> None:
        long = [IDENTITY._replace(dag_id="d" * 300 + end).digest for end in "ab"]
        assert long[0] != long[1]
        alike = [TaskIdentity(dag_id, "r", "t", -1, "", 0).digest for dag_id in "分离"]
        assert alike[0] != alike[1]

    def test_is_not_what_a_user_may_write(self) -> None:
        """Two tasks separate one input, each in its own way, with data that begin as a key does."""
        first = with_value(OWN_DATA, "Operation.UserData", "airflow nightly")
        second = with_value(first, "Operation.Output.AuObject", "out/b")
        world = World(has_store=False)
        submission(world, identity=IDENTITY._replace(task_id="other")).get_or_submit(first, PLACE)
        # a retry without a store looks for what the try before it may have submitted
        assert submission(world, 2).get_or_submit(second, PLACE).job_id == "j2"

    def test_never_replaces_the_users_data(self) -> None:
        assert with_user_data(OWN_DATA, "m") is OWN_DATA
        assert find_text(with_user_data(REQUEST, "m"), "Operation.UserData") == "m"

    def test_replaces_data_that_are_empty(self) -> None:
        """A template may render to nothing; without a key, the job would be known by its input only."""
        for nothing in ("", " "):
            empty = with_value(REQUEST, "Operation.UserData", nothing)
            assert find_text(with_user_data(empty, "m"), "Operation.UserData") == "m"

    def test_is_read_with_whitespace_around_it(self) -> None:
        key = IDENTITY.idempotency_key("f" * 64, "nobody")
        assert ParsedKey.parse(f"\n  {key}\n") == ParsedKey.parse(key) is not None


def job_of(request: Tree, **changes: Any) -> Any:
    """Return the job of a request, as the service describes it."""
    name, kind = ("Name", BatchJob) if "Name" in request else ("Tag", Job)
    described = {**request, "JobId": "j1", name: request[name], **changes}
    return read(kind, parse_document(tree_to_bytes(described, "JobsDetail")))


def echo(request: Tree, path: str, value: Any) -> Any:
    """Return the job of a request with another value at ``path``; ``None``: it is left out."""
    return job_of(with_value(request, path, value))


def tts(**changes: Any) -> Tree:
    operation = {
        "TtsTpl": {"VoiceType": "ruxue"},
        "TtsConfig": {"InputType": "Text", "Input": "1.0"},
        "Output": {"Object": "out/a.wav"},
        "UserData": "order 7",
    }
    return {"Tag": "Tts", "Operation": operation | changes}


def transcode(**changes: Any) -> Tree:
    operation = {
        "Transcode": {"Audio": {"Codec": "mp3"}, "TimeInterval": {"Start": 1.5}},
        "Watermark": [{"Type": "Text"}, {"Type": "Image"}],
        "Output": {"Object": "out/a.mp3"},
        "UserData": "order 7",
    }
    return {"Tag": "Transcode", "Input": {"Object": "in/a.mp4"}, "Operation": operation | changes}


RATE = "Operation.VoiceSeparate.AudioConfig.Bitrate"
VOICE = "Operation.Output.AuObject"


class TestAJobWithTheUsersOwnData:
    """Its request decides. What is overlooked makes another job this task's; what is imagined is paid for."""

    @pytest.mark.parametrize("request_", [OWN_DATA, OWN_BATCH, tts(), transcode()])
    def test_is_the_one_that_equals_the_request(self, request_: Tree) -> None:
        assert is_job_of(job_of(request_), request_)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("Operation.UserData", None),  # the service may leave it out
            ("Operation.UserData", " order 7 "),
            ("Operation.Output", None),
            ("Operation.VoiceSeparate", None),
            ("Operation.VoiceSeparate.AudioConfig", ""),
            ("Operation", None),
            ("Tag", None),
            ("Input.BucketId", "b-1250000001"),
            ("Operation.Output.Object", "filled/in"),
            ("Operation.VoiceSeparate.Added", {"By": "the service"}),
            ("Operation.JobLevel", "0"),
            ("Operation.TemplateId", "t1"),  # beside the parameters
            ("QueueId", "p1"),
            ("Input.Object", "/in/song.mp3"),
            (VOICE, "/out/${jobid}.${ext}"),
            (RATE, "128.0"),
            (RATE, " 128 "),
        ],
    )
    def test_may_be_described_in_another_way(self, path: str, value: Any) -> None:
        assert is_job_of(echo(OWN_DATA, path, value), OWN_DATA)

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("Operation.UserData", "order 8"),
            ("Operation.UserData", "order  7"),
            ("Operation.VoiceSeparate", {"AudioMode": "IsBackground"}),
            ("Operation.VoiceSeparate.AudioConfig.Codec", "MP3"),
            (RATE, "64"),
            (RATE, "0128"),
            (VOICE, "OUT/${jobid}.${ext}"),
            (VOICE, "out/${jobid}.${ext} "),
            (VOICE, "//out/${jobid}.${ext}"),
            ("Operation.Output.Bucket", "other-1250000001"),
            ("Input.Object", "in/Song.mp3"),
            ("Input.Object", "in%2Fsong.mp3"),
            ("Input.Object", None),
            ("Input", None),
            ("Tag", "NoiseReduction"),
        ],
    )
    def test_differs_in_anything_else(self, path: str, value: Any) -> None:
        assert not is_job_of(echo(OWN_DATA, path, value), OWN_DATA)

    def test_was_not_made_of_a_template_if_the_request_has_parameters(self) -> None:
        for parameters in (None, ""):
            of_template = with_value(OWN_DATA, "Operation.VoiceSeparate", parameters)
            assert not is_job_of(echo(of_template, "Operation.TemplateId", "t1"), OWN_DATA)
        assert not is_job_of(job_of(tts(TtsTpl=None, TemplateId="t1")), tts())
        ids = transcode(Watermark=None, WatermarkTemplateId=["t1"])
        assert not is_job_of(job_of(ids), transcode())
        process = {"Tag": "VideoProcess", "Input": {"Object": "a"}, "Operation": {"Transcode": {"Audio": ""}}}
        made_of = with_value(process, "Operation", {"TranscodeTemplateId": "t1"})
        assert not is_job_of(job_of(made_of), process)

    def test_of_a_template_may_show_the_templates_parameters(self) -> None:
        """The service ignores what is sent beside a template."""
        both = with_value(OWN_DATA, "Operation.TemplateId", "t1")
        assert is_job_of(echo(both, "Operation.VoiceSeparate", {"AudioMode": "MusicMode"}), both)
        assert is_job_of(echo(both, "Operation.VoiceSeparate", None), both)
        assert not is_job_of(echo(both, "Operation.TemplateId", "t2"), both)
        without = with_value(both, "Operation.TemplateId", None)
        assert not is_job_of(echo(without, "Operation.VoiceSeparate", {"AudioMode": "MusicMode"}), both)
        # what the template does not replace counts all the same
        by_template = tts(TtsTpl=None, TemplateId="t1")
        other_text = {"InputType": "Text", "Input": "another text"}
        assert not is_job_of(echo(by_template, "Operation.TtsConfig", other_text), by_template)

    @pytest.mark.parametrize(
        ("sent", "returned", "same"),
        [
            (128, "128", True),
            ("128", "128", True),
            ("128", "128.0", True),
            (1.5, "1.50", True),
            (5.0, "5", True),
            ("5.5", "5.500", True),
            (128, "129", False),
            ("007", "7", False),
            ("12345678901234567890123", "12345678901234567890124", False),
            ("1_0", "10", False),
            (True, "true", True),
            (True, "True", True),
            ("True", "true", True),
            ("false", "False", True),
            (True, "false", False),
            (True, "1", False),
            ("a\r\nb ", "a\nb", True),
            ("a b", "ab", False),
            ("", "filled in", True),
            ({}, "filled in", True),
            ({}, {"Filled": "in"}, True),
            ([], ["x"], True),
            ({"A": "x"}, "x", False),
            ("x", {"A": "x"}, False),
            (["x"], "x", True),
            ("x", ["x"], True),
            (["x", None, "y"], ["x", "y"], True),
            (["x", "y"], ["y", "x"], False),
            (["x"], ["x", "y"], False),
            ([{"A": 1}, {}], [{"A": "1"}], True),
            ([{"A": 1}, {"A": 2}], [{"A": "1"}, {"A": "2", "B": "added"}], True),
            ([{"A": 1}, {"A": 2}], [{"A": "1"}, {"A": "3"}], False),
        ],
    )
    def test_in_a_type_without_rules(self, sent: Any, returned: Any, same: bool) -> None:
        request = {"Tag": "Newest", "Input": {"Object": "a"}, "Operation": {"Newest": {"Value": sent}}}
        assert is_job_of(echo(request, "Operation.Newest.Value", returned), request) is same

    @pytest.mark.parametrize("element", ["Watermark", "Transcode"])  # one that may be repeated, and one not
    def test_an_element_of_a_list_of_one(self, element: str) -> None:
        one = {"Type": "Text"}
        for sent, returned in ((one, [one]), ([one], one)):
            request = transcode(**{element: sent})
            assert is_job_of(echo(request, f"Operation.{element}", returned), request)
        two = transcode(**{element: [one, {"Type": "Image"}]})
        assert not is_job_of(echo(two, f"Operation.{element}", one), two)

    def test_a_text_that_looks_like_a_number_is_no_number(self) -> None:
        assert not is_job_of(echo(tts(), "Operation.TtsConfig.Input", "1"), tts())

    def test_without_an_input_whatever_input_the_service_returns(self) -> None:
        for described in (None, "", {"BucketId": "b-1250000001"}, {"Object": "made/up"}):
            assert is_job_of(echo(tts(), "Input", described), tts())
        assert not is_job_of(echo(tts(), "Operation.Output.Object", "out/b.wav"), tts())
        assert not is_job_of(echo(tts(), "Tag", "FillConcat"), tts())

    def test_by_its_url(self) -> None:
        request = {"Tag": "SpeechRecognition", "Input": {"Url": "https://h/a.mp3?b=1&c=2"}, "Operation": {}}
        for described in (None, {"Object": "", "Url": "https://h/a.mp3?b=1&c=2"}):
            assert is_job_of(echo(request, "Input", described), request)
        for described in ({"Url": "https://h/b.mp3"}, {"Object": "a.mp3"}):
            assert not is_job_of(echo(request, "Input", described), request)
        by_key = with_value(request, "Input.Object", "a.mp3")  # which wins
        assert is_job_of(echo(by_key, "Input", {"Object": "a.mp3"}), by_key)

    def test_by_the_other_elements_of_its_input(self) -> None:
        source = {"Object": "a.pdf", "Lang": "zh", "Type": "pdf"}
        request = {"Tag": "Translation", "Input": source, "Operation": {"Translation": {"Lang": "en"}}}
        assert is_job_of(echo(request, "Input", {"Object": "a.pdf", "Lang": "zh"}), request)
        assert not is_job_of(echo(request, "Input.Lang", "ja"), request)

    @pytest.mark.parametrize(
        ("path", "value", "same"),
        [
            ("Input.UrlFile", "", True),  # an echo with all possible elements
            ("Input.Added", "x", True),
            ("Input.Prefix", "/in/", True),
            ("Input", None, False),
            ("Input.UrlFile", "list.txt", False),
            ("Input.Prefix", "in/2/", False),
            ("Name", "other", False),
            ("Type", "Workflow", False),
            ("Type", None, True),
            ("Operation.JobParam", {"TemplateId": "t1"}, False),
            ("Operation.JobParam", {"TemplateId": "t1", "VoiceSeparate": ""}, False),
            ("Operation.JobParam.VoiceSeparate.AudioMode", "MusicMode", False),
            ("Operation.Tag", "NoiseReduction", False),
            ("Operation.QueueId", "p1", True),
        ],
    )
    def test_of_a_batch(self, path: str, value: Any, same: bool) -> None:
        assert is_job_of(echo(OWN_BATCH, path, value), OWN_BATCH) is same

    @pytest.mark.parametrize("request_", [OWN_DATA, OWN_BATCH, tts(), transcode()])
    def test_whatever_the_service_leaves_out_and_adds(self, request_: Tree) -> None:
        random = Random(0)
        for _ in range(50):
            operation = described(random, request_["Operation"])
            assert is_job_of(job_of({**request_, "Operation": operation}), request_), operation

    @pytest.mark.parametrize("request_", [OWN_DATA, OWN_BATCH, tts(), transcode()])
    def test_any_other_value_makes_another_job(self, request_: Tree) -> None:
        paths = [*leaves(request_, "")]
        assert len(paths) >= 5
        for path in paths:
            assert not is_job_of(echo(request_, path, "another"), request_), path


def described(random: Random, tree: Tree) -> dict[str, Any]:
    """Return a tree without some of its elements, with some empty ones, and with others."""
    kept: dict[str, Any] = {"Added": {"By": "the service"}}
    for name, value in tree.items():
        value = described(random, value) if isinstance(value, dict) else value
        kept[name] = random.choice([value, value, value, None, ""])
    return kept


def leaves(tree: Any, path: str) -> Iterator[str]:
    """Yield the paths of all values."""
    for name, value in tree.items():
        inner = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from leaves(value, inner)
        else:
            yield inner


@pytest.mark.parametrize("request_", [REQUEST, BATCH, tts(UserData=None)])
def test_the_key_counts_however_the_service_spells_the_rest(request_: Tree) -> None:
    marked = with_user_data(request_, IDENTITY.idempotency_key("f" * 64, "worker"))
    other = IDENTITY._replace(max_tries=4).idempotency_key("f" * 64, "worker")
    for path, value in (
        ("Input", None),
        ("Input.Object", "in%2Fsong.mp3"),
        ("Name", "other"),
        ("Tag", "Other"),
        ("Operation.Output", {"Object": "other"}),
    ):
        assert is_job_of(echo(marked, path, value), marked)
    assert not is_job_of(echo(marked, "Operation.UserData", other), marked)


class TestFingerprint:
    """A retry may run with another version of the provider: these digests must stay what they are."""

    @pytest.mark.parametrize(
        ("request_", "digest"),
        [
            (REQUEST, "135e9198c31ee4a5"),
            (OWN_DATA, "c8c760c8248644f3"),
            (BATCH, "879a1bf3374f72b2"),
        ],
        ids=["job", "own-data", "batch"],
    )
    def test_is_the_one_of_this_version(self, request_: Tree, digest: str) -> None:
        assert fingerprint(request_, PLACE)[:16] == digest

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (128, "128"),
            (True, "true"),
            (None, []),
            ("", {}),
            ({}, {"A": None}),
            ("x", ["x"]),
            (["x", "y"], ("x", None, "y")),
            ({"A": 1, "B": 2}, {"B": 2, "A": 1}),
        ],
    )
    def test_does_not_change_with_how_the_same_elements_are_written(self, one: Any, other: Any) -> None:
        path = "Operation.VoiceSeparate.AudioConfig.Added"
        of_one, of_other = (fingerprint(with_value(REQUEST, path, value), PLACE) for value in (one, other))
        assert of_one == of_other

    def test_does_not_change_with_an_element_that_a_later_version_adds(self) -> None:
        later = with_value(REQUEST, "Operation.VoiceSeparate.AddedLater", None)
        assert fingerprint(later, PLACE) == fingerprint(REQUEST, PLACE)
        later = with_value(REQUEST, "Operation.VoiceSeparate.AddedLater", "given")
        assert fingerprint(later, PLACE) != fingerprint(REQUEST, PLACE)

    def test_does_not_change_with_a_name_that_the_user_did_not_give(self) -> None:
        def named(name: str | None) -> str:
            return fingerprint({**BATCH, "Name": name}, PLACE)

        assert named(DefaultName("dag-task")) == named(DefaultName("made-otherwise")) == named(None)
        assert named("dag-task") != named(DefaultName("dag-task"))

    @pytest.mark.parametrize("request_", [REQUEST, BATCH, tts(), transcode()])
    def test_counts_every_value(self, request_: Tree) -> None:
        digests = {fingerprint(request_, PLACE), fingerprint(request_, "elsewhere")}
        paths = [
            *leaves(request_, ""),
            "QueueId",
            "CallBack",
            "CallBackMqConfig.MqName",
            "Operation.JobLevel",
        ]
        for path in paths:
            digests.add(fingerprint(with_value(request_, path, "another"), PLACE))
        assert len(digests) == len(paths) + 2
