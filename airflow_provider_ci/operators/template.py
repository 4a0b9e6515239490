"""Keeps a template: parameters under an id, which jobs of its type name instead of parameters."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_provider_ci.exceptions import InvalidRequestError, NotFoundError, ServiceError
from airflow_provider_ci.operators.argument_errors import fail_if_content_is_refused, fail_without_retry
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_arguments, read_tree
from airflow_provider_ci.protocol.template_rules import check_template, template_request
from airflow_provider_ci.protocol.tree import with_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.providers.common.compat.sdk import Context

# Somebody else may create or delete the template between two calls, and the list may show it late
_ATTEMPTS = 3
_PAUSE = 2.0  # seconds


class TencentCITemplateOperator(TencentCIBaseOperator):
    """Creates or updates the template of a name, so that it has exactly these parameters.

    XCom ``return_value`` is the TemplateId. Running twice leaves one template and returns the same id. An
    update replaces the whole definition (460/84757). If somebody else creates or deletes the template at the
    same time, it is looked up again. As far as is known, jobs that are running meanwhile keep the parameters
    that they started with.

    .. seealso:: ``docs/operators.md``, and Tencent's pages 436/84510 and 460/84757.

    :param tag: the type of the jobs that the template is for, for instance ``Transcode``. (templated)
    :param name: the template's name, unique in its bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at
        most 64 characters. (templated)
    :param parameters: as in the ``Operation`` of a job, for instance
        ``{"Transcode": {"Container": {"Format": "mp4"}}}``. Elements that are missing are the service's
        choice. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the bucket that the template is for; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    template_fields: Sequence[str] = ("tag", "name", "parameters", *TencentCIBaseOperator.template_fields)
    tree_arguments: Sequence[str] = ("parameters",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"parameters": "json"}

    def __init__(
        self, *, tag: str, name: str, parameters: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.tag = tag
        self.name = name
        self.parameters = parameters
        check_when_parsed(self, TencentCITemplateOperator)

    def execute(self, context: Context) -> str:  # noqa: ARG002 - as Airflow calls it
        """Create or update the template and return its id.

        :raises TaskArgumentError: an argument breaks a documented rule; nothing was sent.
        :raises RefusedRequestError: the service refused a field of the template.
        :raises ServiceError: the service refuses the template, or others keep changing it meanwhile.
        """
        with fail_without_retry(self):
            self.validate_arguments(None)
            arguments = self._read_template()
            self.hook.settings.endpoint(**self.bucket_and_region)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with fail_if_content_is_refused():
                    return self._create_or_update(*arguments)
            except ServiceError as error:
                if attempt == _ATTEMPTS or not _is_changed_by_others(error):
                    raise
                self.log.info("Somebody else has changed the template meanwhile, trying again: %s", error)
                time.sleep(_PAUSE)
        raise AssertionError("the last attempt returns or raises")

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments, and the template made of them by the documented rules."""
        super().validate_arguments(endpoint)
        check_template(template_request(*self._read_template()))

    def _read_template(self) -> tuple[str, str, dict[str, Any]]:
        """Return the tag, the name and the parameters."""
        arguments = read_arguments(self, ("tag", "name", *self.elements))
        parameters = read_tree(self, "parameters")
        for name, path in self.elements.items():
            if arguments[name] is not None:
                parameters = with_value(parameters, path, arguments[name])
        return arguments["tag"] or "", arguments["name"] or "", parameters

    def _create_or_update(self, tag: str, name: str, parameters: Mapping[str, Any]) -> str:
        from airflow_provider_ci.hooks.templates import has_parameters

        existing = self.hook.templates.find(tag, name, **self.bucket_and_region)
        if existing is None:
            created = self.hook.templates.create(tag, name, parameters, **self.bucket_and_region)
            self.log.info("Created template %s (%s)", name, created.template_id)
            return str(created.template_id)
        template_id = str(existing.template_id)
        if has_parameters(existing, tag, parameters):
            self.log.info("Template %s (%s) has these parameters already", name, template_id)
        else:
            self.hook.templates.update(template_id, tag, name, parameters, **self.bucket_and_region)
            self.log.info("Updated template %s (%s)", name, template_id)
        return template_id


def _is_changed_by_others(error: ServiceError) -> bool:
    """Tell whether the template was created or deleted after it had been looked for."""
    from airflow_provider_ci.protocol.templates import NAME_DUPLICATE, TEMPLATE_MISSING

    if isinstance(error, InvalidRequestError):
        return error.code in NAME_DUPLICATE
    return isinstance(error, NotFoundError) and error.code in TEMPLATE_MISSING
