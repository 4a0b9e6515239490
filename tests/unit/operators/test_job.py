"""The operators for any type of job: what their dicts of elements become, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, XComArg

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.operators.argument_errors import TaskArgumentError
from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator
from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.operators.mapped_keys import Collision, check_result_keys, find_collision
from airflow_provider_ci.operators.template import TencentCITemplateOperator
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator
from airflow_provider_ci.protocol.wire import Endpoint
from tests.conftest import BUCKET, REGION
from tests.docs import any_type
from tests.scripted_server import ScriptedServer, job, job_xml, jobs

ENDPOINT = Endpoint(bucket=BUCKET, region=REGION)
OUTPUT = {"Object": "out/${jobid}"}
VOICE = {"input_object": "in/a", "voice_object": "out/a"}
CONTEXT: dict[str, Any] = {
    "nothing": None,
    "empty": "",
    "text": "mp4",
    "digits": "128",
    "names": ["a", "b"],
    "elements": {"Format": "mp4", "Left": None},
}


class _UpstreamOutput(XComArg):
    """The output of another task, which needs no database to be read."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def iter_references(self) -> Iterator[Any]:
        return iter(())

    def resolve(self, *_: Any, **__: Any) -> Any:
        return self.value


class _LazySequence(Sequence[Any]):
    """What the output of a mapped task is."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


def output_of_task(value: Any) -> Any:
    return _UpstreamOutput(value)


def rendered(operation: Any, *, native: bool = False, **arguments: Any) -> TencentCIJobOperator:
    """Return a task whose arguments Airflow has rendered. Of its type nothing is documented."""
    with DAG("d", schedule=None, render_template_as_native_obj=native):
        task = TencentCIJobOperator(
            **{"task_id": "task", "tag": "Example", "input_object": "in/a", "operation": operation}
            | arguments
        )
    task.render_template_fields(CONTEXT)  # type: ignore[arg-type]
    return task


def operation_of(task: TencentCIJobOperator) -> Any:
    return task.build_request(ENDPOINT)["Operation"]


def refusal(operation: Any, **arguments: Any) -> str:
    with pytest.raises(RequestValidationError) as caught:
        rendered(operation, **arguments).build_request(ENDPOINT)
    return str(caught.value)


class TestElements:
    def test_reach_the_request_as_they_are(self) -> None:
        elements = {
            "A": {"B": [{"C": 1}, {"C": "2"}], "D": "", "E": {}, "F": True, "G": 0.5},
            "Output": OUTPUT,
        }
        request = rendered(
            elements, input_elements={"Lang": "zh"}, user_data="u", queue_id="p1"
        ).build_request(ENDPOINT)
        assert request == {
            "Tag": "Example",
            "Input": {"Object": "in/a", "Lang": "zh"},
            "Operation": {
                "A": elements["A"],
                "Output": {"Region": REGION, "Bucket": BUCKET, **OUTPUT},
                "UserData": "u",
            },
            "QueueId": "p1",
        }

    def test_the_arguments_are_not_changed(self) -> None:
        elements = {"VoiceSeparate": {}, "Output": {"Object": "out/b"}}
        task = VoiceSeparateOperator(
            task_id="task", **VOICE, audio_mode="AudioAndBackground", operation=elements
        )
        task.build_request(ENDPOINT)
        assert elements == {"VoiceSeparate": {}, "Output": {"Object": "out/b"}}

    def test_results_may_go_elsewhere(self) -> None:
        output = {**OUTPUT, "Bucket": "other-1250000000", "Region": "ap-beijing"}
        assert operation_of(rendered({"Output": output}))["Output"] == output

    def test_an_output_without_a_place_is_beside_the_input(self) -> None:
        output = {"Bucket": "", "Region": None, **OUTPUT}
        assert operation_of(rendered({"Output": output}))["Output"] == {
            "Bucket": BUCKET,
            "Region": REGION,
            **OUTPUT,
        }

    def test_an_output_that_is_none_is_no_output(self) -> None:
        assert operation_of(rendered({"Output": None}, tag="SoundHound")) == {"Output": None}

    def test_the_address_of_an_input(self) -> None:
        task = rendered({}, input_object=None, input_url="https://example.com/a")
        assert task.build_request(ENDPOINT)["Input"] == {"Url": "https://example.com/a"}

    def test_the_page_shows_a_task_that_works(self) -> None:
        assert any_type.snapshot.build_request(ENDPOINT)["Tag"] == "Snapshot"


@pytest.mark.parametrize("native", [False, True])
class TestTemplates:
    @pytest.mark.parametrize(
        ("elements", "become"),
        [
            ({"A": "{{ text }}"}, {"A": "mp4"}),
            (
                {"A": {"B": ["{{ text }}", "x", {"C": "{{ text }}-{{ text }}"}]}},
                {"A": {"B": ["mp4", "x", {"C": "mp4-mp4"}]}},
            ),
            ({"A": "{{ empty }}", "B": "x"}, {"B": "x"}),
            ({"A": ["{{ empty }}", "x"]}, {"A": ["x"]}),
            ({"A": "", "B": {"C": "{{ empty }}"}}, {"A": "", "B": {}}),
            ({"A": "None", "B": "['a']"}, {"A": "None", "B": "['a']"}),
            ({"A": "1.10", "B": ["007", "{'a': 1}"]}, {"A": "1.10", "B": ["007", "{'a': 1}"]}),
        ],
    )
    def test_a_part_is_rendered(self, elements: Any, become: Any, native: bool) -> None:
        assert operation_of(rendered(elements, native=native)) == become

    @pytest.mark.parametrize(
        ("elements", "path"),
        [
            ({"A": {"B": "{{ nothing }}"}}, "operation.A.B"),
            ({"A": [{"B": "x"}, {"B": "{{ nothing }}"}]}, "operation.A[1].B"),
            ({"A": "a/{{ nothing }}/b"}, "operation.A"),
        ],
    )
    def test_a_part_that_becomes_none_is_refused(self, elements: Any, path: str, native: bool) -> None:
        said = refusal(elements, native=native)
        assert f"{path} is " in said
        assert "a template rendered None, so what it reads is not there" in said

    def test_the_whole_that_becomes_none_is_refused(self, native: bool) -> None:
        said = refusal("{{ nothing }}", native=native)
        assert said.startswith("Nothing was sent: operation is ")
        assert "allowed: a dict with the names of Tencent's elements; a template rendered None" in said

    def test_every_part_is_named_at_once(self, native: bool) -> None:
        said = refusal({"A": "{{ nothing }}", "B": ["{{ nothing }}"]}, native=native)
        assert "operation.A is" in said
        assert "operation.B[0] is" in said


class TestNativeTemplates:
    @pytest.mark.parametrize(
        ("elements", "become"),
        [
            ({"A": "{{ names }}"}, {"A": ["a", "b"]}),
            ({"A": "{{ elements }}"}, {"A": {"Format": "mp4", "Left": None}}),
            ({"A": "{{ digits }}"}, {"A": 128}),
            ({"A": "{{ 1 == 1 }}"}, {"A": True}),
            ("{{ {'A': elements} }}", {"A": {"Format": "mp4", "Left": None}}),
        ],
    )
    def test_give_lists_dicts_and_numbers(self, elements: Any, become: Any) -> None:
        assert operation_of(rendered(elements, native=True)) == become

    def test_without_them_a_list_is_text_and_refused(self) -> None:
        assert "operation.A is \"['a', 'b']\", allowed: one string; a template rendered" in refusal(
            {"A": "{{ names }}"}
        )
        assert "allowed: a dict with the names of Tencent's elements; a template rendered text" in refusal(
            "{{ elements }}"
        )


class TestOutputsOfOtherTasks:
    @pytest.mark.parametrize(
        ("value", "become"),
        [
            ("mp4", "mp4"),
            (5, 5),
            (["a", "b"], ["a", "b"]),
            ({"B": "c"}, {"B": "c"}),
            (_LazySequence("a", "b"), ["a", "b"]),
        ],
    )
    def test_may_be_a_part(self, value: Any, become: Any) -> None:
        assert operation_of(rendered({"A": output_of_task(value)})) == {"A": become}

    def test_may_be_the_whole(self) -> None:
        assert operation_of(rendered(output_of_task({"A": "b"}))) == {"A": "b"}

    @pytest.mark.parametrize("value", [None, "None"])
    def test_are_refused_if_there_is_none(self, value: Any) -> None:
        assert "operation.A[0].B is " in refusal({"A": [{"B": output_of_task(value)}]})
        assert "operation is " in refusal(output_of_task(value))

    def test_a_list_is_no_whole(self) -> None:
        assert "operation is [{}], allowed: a dict" in refusal(output_of_task([{}]))


class TestConflicts:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                {"user_data": "a", "operation": {"UserData": "b"}},
                "user_data is set, allowed: not together with operation.UserData",
            ),
            (
                {"job_level": 0, "operation": {"JobLevel": 0}},
                "job_level is set, allowed: not together with operation.JobLevel",
            ),
            (
                {"input_elements": {"Object": "in/b"}},
                "input_object is set, allowed: not together with input_elements.Object",
            ),
            (
                {"input_url": "https://example.com/a"},
                "input_url is set, allowed: not together with input_object",
            ),
            ({"operation": {"Output": "out/a"}}, "operation.Output is 'out/a', allowed: a dict of elements"),
            ({"operation": {"JobLevel": 7}}, "operation.JobLevel is 7, allowed: 0, 1, 2"),
            (
                {"operation": {"Output": {"Object": "/a"}}},
                "operation.Output.Object is '/a', allowed: an object key",
            ),
            (
                {"operation": {"Output": {"Object": "in/a"}}},
                "operation.Output.Object is 'in/a', allowed: another key",
            ),
            (
                {"operation": {"A": [{"B": complex(1)}]}},
                "allowed: a string, a number, true or false, a dict of elements",
            ),
            ({"operation": {"A b": 1}}, "operation.A b is 'A b', allowed: "),
            ({"tag": None}, "tag is None, allowed: the type of the job"),
        ],
        ids=str,
    )
    def test_are_refused_when_the_dag_is_parsed(self, arguments: dict[str, Any], said: str) -> None:
        with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
            TencentCIJobOperator(**{"task_id": "task", "tag": "Example", "input_object": "in/a"} | arguments)
        assert said in str(caught.value)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                {"audio_mode": "IsAudio", "operation": {"VoiceSeparate": {"AudioMode": "IsAudio"}}},
                "audio_mode is set, allowed: not together with operation.VoiceSeparate.AudioMode",
            ),
            (
                {"voice_object": None, "operation": {"Output": {"AuObject": "/a"}}},
                "operation.Output.AuObject is '/a'",
            ),
            (
                {"codec": "mp3", "operation": {"VoiceSeparate": "x"}},
                "operation.VoiceSeparate is 'x', allowed: a dict",
            ),
            (
                {"codec": "mp3", "operation": {"VoiceSeparate": [{"AudioMode": "IsAudio"}]}},
                "operation.VoiceSeparate is [{'AudioMode': 'IsAudio'}], allowed: a dict",
            ),
            (
                {"codec": "mp3", "operation": {"TemplateId": "t1"}},
                "codec is set, allowed: not together with template_id",
            ),
            (
                {"template_id": "t1", "operation": {"VoiceSeparate": {"AudioMode": "IsAudio"}}},
                "operation.VoiceSeparate is set, allowed: not together with template_id",
            ),
            (
                {"operation": {"VoiceSeparate": {"AudioMode": "x"}}},
                "operation.VoiceSeparate.AudioMode is 'x', allowed: IsAudio",
            ),
        ],
        ids=str,
    )
    def test_with_the_arguments_of_one_type(self, arguments: dict[str, Any], said: str) -> None:
        with DAG("d", schedule=None), pytest.raises(TaskArgumentError) as caught:
            VoiceSeparateOperator(**{"task_id": "task", **VOICE} | arguments)
        assert said in str(caught.value)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"codec": "mp3", "operation": {"TemplateId": "{{ empty }}"}},
            {"codec": "mp3", "operation": {"VoiceSeparate": {"AudioConfig": {"Codec": "{{ empty }}"}}}},
        ],
    )
    def test_a_template_that_renders_to_nothing_is_none(self, arguments: dict[str, Any]) -> None:
        with DAG("d", schedule=None):
            task = VoiceSeparateOperator(task_id="task", **VOICE, **arguments)
        task.render_template_fields(CONTEXT)  # type: ignore[arg-type]
        assert operation_of(task)["VoiceSeparate"] == {"AudioConfig": {"Codec": "mp3"}}

    def test_all_problems_are_named_at_once(self) -> None:
        said = refusal({"Output": {"Object": "in/a"}}, input_url="https://example.com/a", queue_id="p 1")
        assert "input_url is set" in said
        assert "operation.Output.Object is 'in/a'" in said
        assert "queue_id is 'p 1'" in said


class TestMapped:
    def collision(self, fixed: dict[str, Any], over: Any, map_index: int = 0) -> Collision:
        """Return the collision of an instance's ``operation.Output.Object``."""
        with DAG("d", schedule=None):
            partial = TencentCIJobOperator.partial(task_id="task", tag="Example", **fixed)
            mapped: Any = partial.expand(**over) if isinstance(over, dict) else partial.expand_kwargs(over)
        arguments = (
            {name: values[map_index] for name, values in over.items()}
            if isinstance(over, dict)
            else over[map_index]
        )
        task = mapped.unmap(arguments)
        # as Airflow has rendered it
        task.operation = (
            {**task.operation, "Output": {"Object": "out/a.${ext}"}}
            if isinstance(task.operation, dict)
            else {"Output": {"Object": "out/a.${ext}"}}
        )
        return find_collision(task, mapped, "operation.Output.Object", map_index)

    def test_one_key_for_several_inputs_is_refused(self) -> None:
        with DAG("d", schedule=None):
            mapped: Any = TencentCIJobOperator.partial(
                task_id="task", tag="Example", operation={"Output": {"Object": "out/a"}}
            ).expand(input_object=["in/a", "in/b"])
        task = mapped.unmap({"input_object": "in/a"})
        with pytest.raises(
            TaskArgumentError, match=r"operation\.Output\.Object is 'out/a' in more than one instance"
        ):
            check_result_keys(task, {"ti": SimpleNamespace(map_index=0)})

    def test_each_of_several_streams_needs_a_key_of_its_own(self) -> None:
        streams = [
            {"Index": 0, "Object": "out/${jobid}/0"},
            {"Index": 1, "Object": "out/b"},
            {"Index": 2, "Object": "out/{{ ti.map_index }}"},
        ]
        for value, name in ((streams, "StreamExtract[1]"), (streams[1], "StreamExtract[0]")):
            with DAG("d", schedule=None):
                mapped: Any = TencentCIJobOperator.partial(
                    task_id="task", tag="StreamExtract", operation={"Output": {"StreamExtract": value}}
                ).expand(input_object=["in/a", "in/b"])
            task = mapped.unmap({"input_object": "in/a"})
            with pytest.raises(TaskArgumentError) as caught:
                check_result_keys(task, {"ti": SimpleNamespace(map_index=0)})
            (problem,) = caught.value.problems
            assert problem.startswith(f"operation.Output.{name}.Object is 'out/b' in more than one instance")

    @pytest.mark.parametrize(("buckets", "expected"), [("aa", Collision.CERTAIN), ("ab", Collision.NONE)])
    def test_one_key_in_two_buckets_is_two_objects(self, buckets: str, expected: Collision) -> None:
        operations = [{"Output": {"Object": "out/a", "Bucket": f"{each}-1250000000"}} for each in buckets]
        with DAG("d", schedule=None):
            mapped: Any = TencentCIJobOperator.partial(
                task_id="task", tag="Example", input_object="in/a"
            ).expand(operation=operations)
        task = mapped.unmap({"operation": operations[0]})
        assert find_collision(task, mapped, "operation.Output.Object", 0) is expected

    @pytest.mark.parametrize(
        ("fixed", "over", "expected"),
        [
            (
                {"operation": {"Output": {"Object": "out/a.${ext}"}}},
                {"input_object": ["in/a", "in/b"]},
                Collision.CERTAIN,
            ),
            (
                {"operation": {"Output": {"Object": "out/{{ run_id }}"}}},
                {"input_object": ["in/a", "in/b"]},
                Collision.CERTAIN,
            ),
            (
                {"operation": {"Output": {"Object": "out/{{ ti.map_index }}"}}},
                {"input_object": ["in/a", "in/b"]},
                Collision.NONE,
            ),
            (
                {"operation": {"Output": "{{ ti.map_index }}"}},
                {"input_object": ["in/a", "in/b"]},
                Collision.NONE,
            ),
            (
                {"operation": "{{ task.operation_of(ti) }}"},
                {"input_object": ["in/a", "in/b"]},
                Collision.NONE,
            ),
            ({"operation": "{{ params.operation }}"}, {"input_object": ["in/a", "in/b"]}, Collision.CERTAIN),
            (
                {"input_object": "in/a"},
                {"operation": [{"Output": {"Object": "out/a.${ext}"}, "A": 1}] * 2},
                Collision.CERTAIN,
            ),
            # what decides about the extension is in operation
            (
                {"input_object": "in/a"},
                {
                    "operation": [
                        {"Output": {"Object": "out/a.${ext}"}, "Format": each} for each in ("mp3", "mp4")
                    ]
                },
                Collision.NONE,
            ),
            (
                {"input_object": "in/a"},
                {
                    "operation": [
                        {"Output": {"Object": "out/a.${ext}", "Bucket": f"{each}-1250000000"}}
                        for each in "ab"
                    ]
                },
                Collision.NONE,
            ),
            (
                {},
                [
                    {"input_object": each, "operation": {"Output": {"Object": "out/a.${ext}"}}}
                    for each in ("in/a", "in/b")
                ],
                Collision.CERTAIN,
            ),
            (
                {},
                [
                    {"input_object": "in/a", "operation": {"Output": {"Object": "out/a.${ext}"}, "A": each}}
                    for each in "ab"
                ],
                Collision.NONE,
            ),
        ],
    )
    def test_keys_in_operation_are_compared(
        self, fixed: dict[str, Any], over: Any, expected: Collision
    ) -> None:
        assert self.collision(fixed, over) is expected

    @pytest.mark.parametrize(
        "operation",
        ["{{ ti.xcom_pull('a') }}", {"Output": "{{ ti.map_index }}"}, {"Output": output_of_task("a")}],
    )
    def test_a_key_is_compared_by_what_it_is_rendered_from(self, operation: Any) -> None:
        with DAG("d", schedule=None):
            mapped: Any = TencentCIJobOperator.partial(
                task_id="task", tag="Example", operation=operation
            ).expand(input_object=["in/a", "in/b"])
        task = mapped.unmap({"input_object": "in/a"})
        task.operation = {"Output": {"Object": "out/a"}}
        assert find_collision(task, mapped, "operation.Output.Object", 0) is Collision.NONE

    def test_what_cannot_work_is_refused_when_the_dag_is_parsed(self) -> None:
        with (
            DAG("d", schedule=None),
            pytest.raises(TaskArgumentError, match=r"operation\.Output\.Object is '/a'"),
        ):
            TencentCIJobOperator.partial(
                task_id="task", tag="Example", operation={"Output": {"Object": "/a"}}
            )


class TestUsersClasses:
    def test_an_operator_for_one_type(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
    ) -> None:
        class Animate(TencentCIJobOperator):
            template_fields = (*TencentCIJobOperator.template_fields, "frames")

            def __init__(self, *, frames: str, **kwargs: Any) -> None:
                super().__init__(tag="Animation", **kwargs)
                self.frames = frames

            def build_request(self, endpoint: Any) -> Any:
                self.operation = {
                    "Animation": {"Video": {"AnimateFramesPerSecond": self.frames}},
                    "Output": OUTPUT,
                }
                return super().build_request(endpoint)

        connection(server.url)
        server.play(job("j1"))
        with DAG("d", schedule=None, default_args={"tag": "Transcode", "queue_id": "p1"}):
            task = Animate(task_id="task", frames="{{ digits }}", input_object="in/a")
        task.render_template_fields(CONTEXT)  # type: ignore[arg-type]
        assert task.execute(make_context()) == "j1"  # type: ignore[arg-type]
        task.hook.close()
        (sent,) = server.requests
        assert b"<Tag>Animation</Tag>" in sent.body
        assert b"<AnimateFramesPerSecond>128<" in sent.body
        assert b"<QueueId>p1</QueueId>" in sent.body

    def test_a_bad_element_fails_without_retry(
        self, connection: Callable[..., str], make_context: Callable[..., dict[str, Any]]
    ) -> None:
        class Mine(TencentCIJobOperator):
            pass

        connection("http://127.0.0.1:1")
        task = Mine(
            task_id="task", tag="Example", input_object="in/a", operation={"Output": {"Object": "/a"}}
        )
        with pytest.raises(AirflowFailException, match=r"operation\.Output\.Object is '/a'"):
            task.execute(make_context())  # type: ignore[arg-type]

    def test_default_args_give_elements(self) -> None:
        with DAG("d", schedule=None, default_args={"operation": {"JobLevel": 2}, "tag": "Example"}):
            task = TencentCIJobOperator(task_id="task", input_object="in/a")
            voice = VoiceSeparateOperator(task_id="voice", **VOICE)
        assert operation_of(task) == {"JobLevel": 2}
        assert voice.build_request(ENDPOINT)["Tag"] == "VoiceSeparate"
        assert operation_of(voice)["JobLevel"] == 2


class TestBatches:
    def test_a_batch_of_any_type(
        self,
        server: ScriptedServer,
        connection: Callable[..., str],
        make_context: Callable[..., dict[str, Any]],
    ) -> None:
        connection(server.url)
        server.play(jobs(job_xml("b1", "Submitted")))
        task = TencentCIBatchJobOperator(
            task_id="task",
            tag="Example",
            prefix="in/",
            operation={"A": {"B": 1}, "Output": OUTPUT, "JobLevel": 1},
        )
        request = task.build_request(ENDPOINT)
        assert request["Operation"] == {
            "Tag": "Example",
            "JobParam": {"A": {"B": 1}},
            "Output": {"Region": REGION, "Bucket": BUCKET, **OUTPUT},
            "JobLevel": 1,
        }
        assert task.execute(make_context()) == "b1"  # type: ignore[arg-type]
        task.hook.close()

    def test_a_batch_defers_with_its_tag(self) -> None:
        task = TencentCIBatchJobOperator(
            task_id="task", tag="Example", prefix="in/", operation={"Output": OUTPUT}
        )
        assert task._make_trigger(job_ids=["b1"]).serialize()[1]["tag"] == "Example"


class TestTemplateOperator:
    def test_parameters_may_be_the_output_of_another_task(self) -> None:
        with DAG("d", schedule=None):
            task = TencentCITemplateOperator(
                task_id="task",
                tag="VoiceSeparate",
                name="n",
                parameters=output_of_task({"VoiceSeparate": {}}),
            )
        task.render_template_fields(CONTEXT)  # type: ignore[arg-type]
        with pytest.raises(RequestValidationError, match="AudioMode is None"):
            task.validate_arguments(None)

    def test_it_refuses_no_parameters(self) -> None:
        with pytest.raises(
            TaskArgumentError, match="AudioMode is None, allowed: a mode; a template must name one"
        ):
            TencentCITemplateOperator(task_id="task", tag="VoiceSeparate", name="n")
