"""The request for one job of any type, made of an operator's arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators.base_request import BaseRequestOperator
from airflow_provider_ci.operators.rendered_arguments import read_tree
from airflow_provider_ci.protocol.job_rules import check_job
from airflow_provider_ci.protocol.overlap import overlapping_results_of_job, refuse_overlapping_results
from airflow_provider_ci.protocol.rules import problems_of, raise_if_any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_ci.protocol.tree import Tree
    from airflow_provider_ci.protocol.wire import Endpoint

INPUT_ARGUMENTS = ("input_object", "input_url")
#: Values that break no rule, each if the other is not set.
INPUT_EXAMPLE = {"input_object": "example/input", "input_url": "https://example.com/input"}


class JobRequestOperator(BaseRequestOperator):
    """Builds the request for a job of any type. It has the input, and
    :class:`~airflow_provider_ci.operators.base_request.BaseRequestOperator` the rest.

    :param input_object: key of the input (``Input.Object``); some types have none. (templated)
    :param input_url: address of the input instead (``Input.Url``), where the type allows it. It is shown in
        Airflow's UI. (templated)
    :param input_elements: further elements of ``Input``, for instance ``{"Lang": "zh", "Type": "pdf"}`` of a
        translation. (templated)
    :param check_input: submit a job only if the input object exists, is not empty and not archived.
        Otherwise the task fails with ``NotFoundError`` or ``RequestValidationError`` before anything is paid.
        It costs one ``HEAD`` and needs the permission ``cos:HeadObject``; refused keys are a
        ``PermissionDeniedError`` too. A retry that continues with an earlier job does not check.
    """

    template_fields: Sequence[str] = (
        "tag",
        *INPUT_ARGUMENTS,
        "input_elements",
        *BaseRequestOperator.template_fields,
    )
    boolean_arguments = (*BaseRequestOperator.boolean_arguments, "check_input")
    tree_arguments = (*BaseRequestOperator.tree_arguments, "input_elements")
    arguments_of_elements: Mapping[str, str] = {
        "Input.Object": "input_object",
        "Input.Url": "input_url",
        "CallBack": "callback_url",
    }
    parse_check_examples = tuple(
        {**example, **INPUT_EXAMPLE} for example in BaseRequestOperator.parse_check_examples
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        **BaseRequestOperator.template_fields_renderers,
        "input_elements": "json",
    }

    def __init__(
        self,
        *,
        input_object: str | None = None,
        input_url: str | None = None,
        input_elements: dict[str, Any] | None = None,
        check_input: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.input_object = input_object
        self.input_url = input_url
        self.input_elements = input_elements
        self.check_input = check_input

    def build_request(self, endpoint: Endpoint) -> Tree:
        """Return the request made of the rendered arguments.

        :param endpoint: the input's bucket and region; results go there unless the arguments say otherwise.
        :raises RequestValidationError: an argument cannot be used, or a result would overwrite the input.
        """
        request, problems = self.assemble_request(endpoint)
        raise_if_any([*problems, *request_problems(request, endpoint.bucket)])
        return request

    def assemble_request(self, endpoint: Endpoint) -> tuple[dict[str, Any], list[str]]:
        """Return the request made of the rendered arguments, not checked yet, and the arguments that exclude
        each other.

        :raises RequestValidationError: an argument cannot be read.
        """
        arguments = self._read_arguments(*INPUT_ARGUMENTS)
        elements = {"Object": arguments["input_object"], "Url": arguments["input_url"]}
        further = read_tree(self, "input_elements")
        source = {**{name: value for name, value in elements.items() if value is not None}, **further}
        request = {
            "Tag": arguments["tag"],
            **({"Input": source} if source else {}),
            "Operation": self._build_operation(arguments, endpoint),
            **self._build_queue_and_callback(arguments),
        }
        return request, [*_input_conflicts(arguments, further)]


def request_problems(request: Tree, bucket: str | None) -> list[str]:
    """Return the rules that a request breaks, and the results that would overwrite its input.

    :param bucket: the input's bucket.
    """
    overlap = overlapping_results_of_job(request, bucket)
    return [*problems_of(refuse_overlapping_results, overlap, request), *problems_of(check_job, request)]


def _input_conflicts(arguments: Mapping[str, Any], further: Mapping[str, Any]) -> Iterator[str]:
    """Yield the arguments that name the input a second time.

    :param further: ``input_elements``.
    """
    for name, element in (("input_object", "Object"), ("input_url", "Url")):
        if arguments[name] is not None and further.get(element) is not None:
            yield f"{name} is set, allowed: not together with input_elements.{element}"
    if None not in (arguments["input_object"], arguments["input_url"]):
        yield "input_url is set, allowed: not together with input_object"
