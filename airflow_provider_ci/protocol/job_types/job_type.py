"""What distinguishes one type of job from another. Everything else is the same for all.

DAG files load this module, so it loads neither the models nor the XML library.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from airflow_provider_ci.protocol.result_keys import JOB_PLACEHOLDERS, KnownInputs
from airflow_provider_ci.protocol.rules import Problem, Rule
from airflow_provider_ci.protocol.tree import Tree, find, find_tree

#: The services that a bucket opens, by the name in ``POST /<name>bucket``: see :mod:`..services`.
MEDIA, ASR, PICTURE, AI, FILE = "media", "asr", "pic", "ai_", "file_"

#: The element of ``Output`` that has the keys of several results, each with the ``Index`` of a stream.
STREAMS = "StreamExtract"


class Need(Enum):
    """Whether a request must, may or must not have an element."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    FORBIDDEN = "forbidden"


def unknown_extension(operation: Tree) -> str | None:  # noqa: ARG001 - other types look into it
    """Return ``None``: what replaces ``${ext}`` is not known before the job has ended."""
    return None


def no_problems(*_: object) -> Iterator[Problem]:
    """Yield nothing: the type has no rules beyond those of its single elements."""
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class JobType:
    """One type of job.

    :param tag: its ``Tag``.
    :param parameters: the elements of ``Operation`` with its parameters.
    :param beside_template: those of ``parameters`` that a template does not replace.
    :param needs_parameters: a request must have ``TemplateId``, or at least one of the parameters that a
        template would replace.
    :param input: whether a request has ``Input.Object``.
    :param output: whether a request has ``Output`` with a bucket and a region.
    :param output_objects: the keys in ``Output``, by the names that the results have in XCom.
    :param required_objects: those of the elements of ``output_objects`` that a request needs.
    :param placeholders: what the service replaces in these keys; ``None`` if that is not known.
    :param extension: returns what replaces ``${ext}`` for an operation; ``None`` if it is not known.
    :param rules: the documented rules of single elements, by their path in ``Operation``.
    :param relation_problems: yields the problems of parameters that do not fit each other, in an operation
        whose single elements have passed ``rules``.
    :param result_problems: yields the problems of the results' keys, which a job has and a template has not,
        by what is known of the inputs. Called only if ``relation_problems`` has yielded none.
    :param service: what a bucket must have opened: ``MEDIA``, ``ASR``, ``PICTURE``, ``AI`` or ``FILE``.
    :param submit_action: the CAM action that allows its submission.
    :param is_listed: the documents say that ``GET /jobs?tag=`` lists it.
    :param keeps_result_in_parameters: the service writes results into the elements in ``parameters``.
    :param is_in_batches: ``POST /inventorytriggerjob`` is documented for it, or known from Tencent's SDKs.
    """

    tag: str
    parameters: tuple[str, ...] = ()
    beside_template: tuple[str, ...] = ()
    needs_parameters: bool = False
    input: Need = Need.REQUIRED
    output: Need = Need.REQUIRED
    output_objects: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"file": "Object"}))
    required_objects: tuple[str, ...] = ("Object",)
    placeholders: tuple[str, ...] | None = JOB_PLACEHOLDERS
    extension: Callable[[Tree], str | None] = unknown_extension
    rules: Mapping[str, Rule] = field(default_factory=lambda: MappingProxyType({}))
    relation_problems: Callable[[Tree], Iterator[Problem]] = no_problems
    result_problems: Callable[[Tree, KnownInputs], Iterator[Problem]] = no_problems
    service: str = MEDIA
    submit_action: str = "ci:CreateMediaJobs"
    is_listed: bool = False
    keeps_result_in_parameters: bool = False
    is_in_batches: bool = False

    @property
    def replaced_by_template(self) -> tuple[str, ...]:
        """The elements that the service ignores if there is a ``TemplateId``."""
        return tuple(name for name in self.parameters if name not in self.beside_template)

    def operation_problems(self, operation: Tree, inputs: KnownInputs) -> Iterator[Problem]:
        """Yield the rules of this type that an operation breaks. The fields begin with ``Operation.``.

        If there is a ``TemplateId``, the service ignores what it replaces, so that is not checked.
        """
        has_template = operation.get("TemplateId") is not None
        needed = self.replaced_by_template if self.needs_parameters and not has_template else ()
        if needed and all(operation.get(name) is None for name in needed):
            yield Problem("Operation", "without parameters", f"with {' or '.join(('TemplateId', *needed))}")
        ignored = self.replaced_by_template if has_template else ()
        used = {name: value for name, value in operation.items() if name not in ignored}
        problems = [*self.parameter_problems(used)]
        yield from problems
        if not problems:
            yield from self.result_problems(operation, inputs)

    def parameter_problems(self, operation: Tree) -> Iterator[Problem]:
        """Yield the rules that the parameters in an operation break."""
        problems: list[Problem] = []
        wrong_parents: dict[str, Problem] = {}
        for path, rule in self.rules.items():
            parent, _, name = path.rpartition(".")
            element = find(operation, parent)
            if element is None:  # the elements that it requires are not required without it
                continue
            if isinstance(element, Mapping) or element == "":
                problems += rule.problems(f"Operation.{path}", find(element, name))
            else:
                wrong_parents[parent] = Problem(f"Operation.{parent}", element, "a dict of elements")
        problems += wrong_parents.values()
        yield from problems or self.relation_problems(operation)

    def result_key_values(self, operation: Tree) -> Iterator[tuple[str, object]]:
        """Yield what a request has as keys of results, unchecked, with their elements in ``Output``."""
        output = find_tree(operation, "Output")
        for element in self.output_objects.values():
            value = output.get(element)
            if element != STREAMS:
                if value is not None:
                    yield element, value
                continue
            for index, stream in enumerate(value if isinstance(value, list | tuple) else [value]):
                if stream is not None:
                    yield f"{STREAMS}[{index}].Object", find(stream, "Object")

    def result_keys(self, operation: Tree) -> dict[str, str]:
        """Return the keys of the results by their elements in ``Output``: strings that are not empty."""
        values = self.result_key_values(operation)
        return {element: key for element, key in values if isinstance(key, str) and key}
