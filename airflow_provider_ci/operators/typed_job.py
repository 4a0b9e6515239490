"""What the operators for one type of job with one result file have in common."""

from __future__ import annotations

import re
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.operators.job import TencentCIJobOperator
from airflow_provider_ci.protocol.job_types.job_type import Need

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from airflow_provider_ci.protocol.job_types.job_type import JobType

_COMMON_ELEMENTS = {
    "template_id": "TemplateId",
    "output_region": "Output.Region",
    "output_bucket": "Output.Bucket",
    "output_object": "Output.Object",
}
_COMMON_EXAMPLE = {
    "output_object": "example/result",
    "output_bucket": "example-1250000000",
    "output_region": "ap-guangzhou",
}


def elements_of(kind: JobType) -> dict[str, str]:
    """Return an argument for each parameter that has a rule: ``Audio.SampleRate`` is ``audio_sample_rate``.

    :return: the paths of the elements in ``Operation``, by argument.
    """
    parent = f"{kind.parameters[0]}."
    paths = [path for path in kind.rules if path.startswith(parent)]
    return {_snake_case(path.removeprefix(parent)): path for path in paths}


def _snake_case(path: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|\.", "_", path).lower()


def _argument_patterns(paths: Iterable[str]) -> dict[str, str]:
    """Return how messages name an element that has several arguments: ``Audio`` is ``audio_…``.

    :param paths: of the elements that have an argument each.
    """
    parents = {path.split(".")[1] for path in paths if path.count(".") > 1}
    return {parent: f"{_snake_case(parent)}_…" for parent in parents}


class TypedJobOperator(TencentCIJobOperator):
    """A job of one type. A subclass has :attr:`kind`, and an argument for each of its parameters that has a
    rule; these become its :attr:`elements` and template fields.

    :param output_object: key of the result (``Output.Object``). (templated)
    :param output_bucket: bucket of the result (``Output.Bucket``); default: the input's. (templated)
    :param output_region: that bucket's region (``Output.Region``); default: the input's. (templated)
    :param template_id: a template (``TemplateId``), instead of the parameters. (templated)
    """

    kind: ClassVar[JobType]
    #: Arguments that are no elements, and are templated.
    further_fields: ClassVar[tuple[str, ...]] = ()
    #: Values that stand for arguments which are not known while a DAG is parsed. Those of one example break
    #: no rule together, and an example has all that other arguments may require.
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" not in vars(cls):  # a user's subclass
            return
        arguments = signature(cls.__init__).parameters
        own = {name: path for name, path in elements_of(cls.kind).items() if name in arguments}
        cls.tag = cls.kind.tag
        cls.elements = {**own, **_COMMON_ELEMENTS}
        cls.arguments_of_elements = {**cls.arguments_of_elements, **_argument_patterns(own.values())}
        inherited = [name for name in TencentCIJobOperator.template_fields if name != "tag"]
        cls.template_fields = (*inherited, *cls.elements, *cls.further_fields)
        cls.parse_check_examples = cls._complete_examples(own)

    @classmethod
    def _complete_examples(cls, own: Collection[str]) -> tuple[Mapping[str, Any], ...]:
        """Return :attr:`examples`, and one with a template, with values for all other arguments.

        :param own: the arguments that a template replaces.
        """
        no_input = dict.fromkeys(("input_object", "input_url") if cls.kind.input is Need.FORBIDDEN else ())
        beside_template = {name: value for name, value in cls.examples[0].items() if name not in own}
        # the one with a template comes first, because a message says what is allowed by the last one
        examples = ({**beside_template, "template_id": "example"}, *cls.examples)
        return tuple(
            {**common, **_COMMON_EXAMPLE, **no_input, **example}
            for common in TencentCIJobOperator.parse_check_examples
            for example in examples
        )

    def __init__(
        self,
        *,
        output_object: str | None = None,
        output_bucket: str | None = None,
        output_region: str | None = None,
        template_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(tag=self.kind.tag, **kwargs)
        self.output_object = output_object
        self.output_bucket = output_bucket
        self.output_region = output_region
        self.template_id = template_id
