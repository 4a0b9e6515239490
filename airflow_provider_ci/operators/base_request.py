"""The arguments that jobs and batch jobs of every type have in common, and the request made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators.base_task import TencentCIBaseTaskOperator
from airflow_provider_ci.operators.rendered_arguments import read_arguments, read_dict, read_tree
from airflow_provider_ci.protocol.job_types.job_type import Need
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.rules import Problem, raise_if_any
from airflow_provider_ci.protocol.tree import find, find_tree, with_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_ci.protocol.wire import Endpoint

_CALLBACK_ELEMENTS = {
    "callback_url": "CallBack",
    "callback_format": "CallBackFormat",
    "callback_type": "CallBackType",
}
_MQ_ELEMENTS = {"mq_region": "MqRegion", "mq_mode": "MqMode", "mq_name": "MqName"}
_KAFKA_ELEMENTS = {"region": "Region", "instance_id": "InstanceId", "topic": "Topic"}
_MQ_EXAMPLE = {"mq_region": "sh", "mq_mode": "Queue", "mq_name": "example"}
_KAFKA_EXAMPLE = {"region": "ap-guangzhou", "instance_id": "example", "topic": "example"}
#: The arguments that every type has in ``Operation``.
_COMMON_ELEMENTS = {"user_data": "UserData", "job_level": "JobLevel"}
_SCALARS = ("user_data", "job_level", "queue_id", *_CALLBACK_ELEMENTS)


class BaseRequestOperator(TencentCIBaseTaskOperator):
    """Builds the request for a job or batch job of any type.

    A subclass for one type has :attr:`elements`, and an argument for each; ``operation`` has the rest.

    :param tag: the type of the job (``Tag``), for instance ``Transcode``; ``docs/job-types.md`` lists all
        that are known. (templated)
    :param operation: what the job does (``Operation``), with the names of Tencent's pages: a dict of
        elements, in which a list is an element that is repeated, ``""`` and ``{}`` are an empty element, and
        ``None`` is none. Each value, a part or the whole may be a template or another task's output. A
        template that renders to an empty string leaves its element out; one that renders to ``None`` is
        refused. An element that another argument gives is refused, too. The results go to the input's bucket
        and region unless ``Output`` names others. It is shown in Airflow's UI. (templated)
    :param user_data: printable ASCII, at most 1,024 characters, which the service returns with the job
        (``UserData``). Default: with ``durable``, the idempotency key of the task. (templated)
    :param job_level: priority (``JobLevel``): 0, 1 or 2; a higher one runs earlier. (templated)
    :param queue_id: queue (``QueueId``); default: the service chooses. (templated)
    :param callback_url: http or https URL that the service calls when the job has ended (``CallBack``),
        ``auto`` for the endpoint of this Airflow (3.3 or newer), or ``no``. A URL is shown in Airflow's UI,
        so put no secret into it. (templated)
    :param callback_format: ``XML`` or ``JSON`` (``CallBackFormat``). (templated)
    :param callback_type: ``Url``, ``TDMQ`` or ``Kafka`` (``CallBackType``). (templated)
    :param callback_mq_config: for ``TDMQ`` (``CallBackMqConfig``):
        ``{"mq_region": …, "mq_mode": …, "mq_name": …}``; the region is ``sh``, ``bj``, ``gz``, ``cd`` or
        ``hk``, the mode ``Queue`` or ``Topic``. (templated)
    :param callback_kafka_config: for ``Kafka`` (``CallBackKafkaConfig``):
        ``{"region": …, "instance_id": …, "topic": …}``. (templated)
    """

    # Without tag: a subclass for one type of job has it as an attribute of the class, not as an argument
    template_fields: Sequence[str] = (
        *TencentCIBaseTaskOperator.template_fields,
        *_SCALARS,
        "operation",
        "callback_mq_config",
        "callback_kafka_config",
    )
    integer_arguments: Sequence[str] = ("job_level",)
    free_text_arguments: Sequence[str] = ("user_data",)
    nullable_arguments: Sequence[str] = ("callback_format", "callback_type")
    tree_arguments: Sequence[str] = ("operation",)
    parse_check_examples: Sequence[Mapping[str, Any]] = tuple(
        {
            "job_level": 0,
            "queue_id": "example",
            "callback_url": "no",
            "callback_format": "XML",
            "callback_type": kind,
            "callback_mq_config": _MQ_EXAMPLE,
            "callback_kafka_config": _KAFKA_EXAMPLE,
        }
        for kind in ("Url", "TDMQ", "Kafka")
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "operation": "json",
        "callback_mq_config": "json",
        "callback_kafka_config": "json",
    }

    def __init__(
        self,
        *,
        tag: str,
        operation: dict[str, Any] | None = None,
        user_data: str | None = None,
        job_level: int | str | None = None,
        queue_id: str | None = None,
        callback_url: str | None = None,
        callback_format: str | None = None,
        callback_type: str | None = None,
        callback_mq_config: dict[str, str] | None = None,
        callback_kafka_config: dict[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tag = tag
        self.operation = operation
        self.user_data = user_data
        self.job_level = job_level
        self.queue_id = queue_id
        self.callback_url = callback_url
        self.callback_format = callback_format
        self.callback_type = callback_type
        self.callback_mq_config = callback_mq_config
        self.callback_kafka_config = callback_kafka_config

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments, and the request made of them."""
        super().validate_arguments(endpoint)
        self.build_request(endpoint)

    def _read_arguments(self, *own: str) -> dict[str, Any]:
        """Return the rendered values of this class's template fields; an empty string becomes ``None``.

        :param own: the names of strings that only the subclass has.
        :raises RequestValidationError: names each argument that cannot be used.
        """
        # not template_fields, to which a user's subclass may add anything
        names = ("tag", *own, *TencentCIBaseTaskOperator.template_fields, *_SCALARS, *self.elements)
        return read_arguments(self, names)

    def _build_operation(self, arguments: Mapping[str, Any], endpoint: Endpoint) -> dict[str, Any]:
        """Return ``Operation``: the argument ``operation`` with the elements of all other arguments."""
        operation = read_tree(self, "operation")
        kind = job_type(arguments["tag"])
        paths = {**self.elements, **_COMMON_ELEMENTS}
        elements = {name: path for name, path in paths.items() if arguments[name] is not None}
        template_id = operation.get("TemplateId") or arguments.get("template_id")
        replaced = kind.replaced_by_template if template_id else ()
        raise_if_any(
            [
                *_set_twice(operation, elements),
                *_parent_problems(operation, elements),
                *_ignored(operation, elements, replaced),
            ]
        )
        if self.elements and kind.needs_parameters and not template_id:
            # an operator for one type may leave all parameters at their defaults
            operation.setdefault(kind.parameters[0], {})
        for name, path in elements.items():
            operation = with_value(operation, path, arguments[name])
        if operation.get("Output") is not None or kind.output is Need.REQUIRED:
            output = find_tree(operation, "Output")
            defaults = {"Region": endpoint.region, "Bucket": endpoint.bucket}
            given = {name: value for name, value in output.items() if value not in (None, "")}
            operation["Output"] = {**defaults, **given}
        return operation

    def _build_queue_and_callback(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the elements that name the queue and the receiver of the callback."""
        mq = read_dict(self, "callback_mq_config", _MQ_EXAMPLE)
        kafka = read_dict(self, "callback_kafka_config", _KAFKA_EXAMPLE)
        elements = {
            "QueueId": arguments["queue_id"],
            **{element: arguments[name] for name, element in _CALLBACK_ELEMENTS.items()},
            "CallBackMqConfig": mq and {_MQ_ELEMENTS[name]: value for name, value in mq.items()},
            "CallBackKafkaConfig": kafka and {_KAFKA_ELEMENTS[name]: value for name, value in kafka.items()},
        }
        return {name: value for name, value in elements.items() if value is not None}


def _set_twice(operation: Mapping[str, Any], elements: Mapping[str, str]) -> Iterator[str]:
    """Yield a problem for each argument whose element ``operation`` has, too.

    :param elements: the paths of the arguments' elements, by argument.
    """
    for name, path in elements.items():
        if find(operation, path) is not None:
            yield f"{name} is set, allowed: not together with operation.{path}"


def _parent_problems(operation: Mapping[str, Any], elements: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each part of ``operation`` that is to get children and cannot have any."""
    parts = [path.split(".")[:-1] for path in (*elements.values(), "Output.Object")]
    parents = [".".join(each[: depth + 1]) for each in parts for depth in range(len(each))]
    for parent in dict.fromkeys(parents):
        value = find(operation, parent)
        if value not in (None, "") and not hasattr(value, "items"):
            yield Problem(f"operation.{parent}", value, "a dict of elements")


def _ignored(
    operation: Mapping[str, Any], elements: Mapping[str, str], replaced: Sequence[str]
) -> Iterator[str]:
    """Yield what the service would ignore because of a template.

    :param replaced: the elements of ``Operation`` that the template replaces.
    """
    rule = "allowed: not together with template_id, which wins"
    for name, path in elements.items():
        if path.partition(".")[0] in replaced:
            yield f"{name} is set, {rule}"
    if "template_id" in elements:
        for element in replaced:
            if operation.get(element) is not None:
                yield f"operation.{element} is set, {rule}"
