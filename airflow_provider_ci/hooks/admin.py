"""The hook's calls about templates, queues, and the services that are opened for a bucket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from airflow_provider_ci.exceptions import NotFoundError, TencentCIError
from airflow_provider_ci.hooks.calls import Calls
from airflow_provider_ci.protocol.errors import is_retryable
from airflow_provider_ci.protocol.jobs import IDS_PER_REQUEST
from airflow_provider_ci.protocol.names import VOICE_SEPARATE
from airflow_provider_ci.protocol.queues import (
    DescribeQueue,
    ListQueues,
    NotifyConfig,
    Queue,
    QueueRequest,
    UpdateQueue,
)
from airflow_provider_ci.protocol.rules import check_list
from airflow_provider_ci.protocol.services import ASR, BucketBinding, CloseBucket, ListBuckets, OpenBucket
from airflow_provider_ci.protocol.templates import (
    CreateTemplate,
    DeleteTemplate,
    ListTemplates,
    Template,
    UpdateTemplate,
    template_request,
)
from airflow_provider_ci.protocol.voice_separation import AudioConfig, VoiceSeparate


class AdminCalls(Calls):
    """Keeps what jobs use in order. Templates and queues belong to one bucket."""

    def create_template(
        self,
        name: str,
        parameters: VoiceSeparate,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Create a voice-separation template; when the answer got lost, it is looked for by its name.

        :param name: unique in the bucket: Chinese, letters, digits, ``_``, ``-``, ``*``, at most 64.
        :raises RequestValidationError: it breaks a documented rule; nothing was sent.
        :raises InvalidRequestError: the service refused it, for instance because the name is taken (code
            ``TemplateNameDuplicate``).
        """
        try:
            return self._call(CreateTemplate(template_request(name, parameters)), bucket, region)
        except TencentCIError as error:
            if not is_retryable(error):
                raise
            found = self.find_template(name, bucket=bucket, region=region)
            if found is None or not is_same(found, parameters):
                raise
            self.log.warning("The answer got lost, but template %s was created: %s", found.template_id, error)
            return found

    def update_template(
        self,
        template_id: str,
        name: str,
        parameters: VoiceSeparate,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Template:
        """Give a template another definition, which replaces the old one as a whole.

        :raises NotFoundError: there is no such template.
        """
        return self._call(UpdateTemplate(template_id, template_request(name, parameters)), bucket, region)

    def delete_template(
        self, template_id: str, *, bucket: str | None = None, region: str | None = None
    ) -> bool:
        """Delete a template; return ``False`` if there was none."""
        return self._call(DeleteTemplate(template_id), bucket, region)

    def get_templates(
        self, template_ids: Sequence[str], *, bucket: str | None = None, region: str | None = None
    ) -> list[Template]:
        """Return those of the templates that exist. Any number of ids; one request for each ten of them."""
        check_list("template_ids", template_ids)
        ids = list(dict.fromkeys(template_ids))
        parts = [ids[start : start + IDS_PER_REQUEST] for start in range(0, len(ids), IDS_PER_REQUEST)]
        calls = [ListTemplates(ids=part, page_size=IDS_PER_REQUEST) for part in parts]
        return [template for call in calls for template in self._call(call, bucket, region).template_list]

    def list_templates(
        self,
        *,
        tag: str = VOICE_SEPARATE,
        name: str | None = None,
        category: str = "Custom",
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Template]:
        """Return an iterator over the templates of a bucket, page after page as they are consumed.

        :param name: begin of the name.
        """
        return self._pages(ListTemplates(tag=tag, name=name, category=category), bucket, region)

    def find_template(
        self, name: str, *, bucket: str | None = None, region: str | None = None
    ) -> Template | None:
        """Return the voice-separation template of exactly this name, or ``None``."""
        candidates = self.list_templates(name=name, bucket=bucket, region=region)
        return next((template for template in candidates if template.name == name), None)

    def list_queues(
        self,
        *,
        service: str = ASR,
        queue_ids: Sequence[str] = (),
        state: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Iterator[Queue]:
        """Return an iterator over the queues of a bucket.

        :param service: ``asr`` (smart audio, where voice separation waits) or ``media``.
        :param queue_ids: only these, at most 10.
        :param state: ``Active`` or ``Paused``.
        """
        return self._pages(ListQueues(service=service, queue_ids=queue_ids, state=state), bucket, region)

    def update_queue(
        self,
        queue_id: str,
        *,
        name: str | None = None,
        state: str | None = None,
        notify_config: NotifyConfig | None = None,
        service: str = ASR,
        bucket: str | None = None,
        region: str | None = None,
    ) -> Queue:
        """Change a queue. What is not given stays as it is, also elements that no page names: the service
        wants all of it, so it is read first.

        :param state: ``Active``, or ``Paused``: waiting jobs are held, running ones go on.
        :raises NotFoundError: the bucket has no such queue.
        """
        as_read = self._call(DescribeQueue(queue_id, service), bucket, region)
        if as_read is None:
            raise NotFoundError(
                f"Cannot update the queue: the bucket has no queue {queue_id} of the service {service}",
                hint="Check bucket, region and id: they belong together",
            )
        queue = as_read.queue
        wanted = QueueRequest(
            name=name if name is not None else queue.name,
            state=state if state is not None else queue.state,
            notify_config=notify_config or queue.notify_config or NotifyConfig(state="Off"),
        )
        return self._call(UpdateQueue(queue_id, wanted, service, as_read), bucket, region)

    def open_bucket(
        self, *, service: str = ASR, bucket: str | None = None, region: str | None = None
    ) -> BucketBinding | None:
        """Open a service for a bucket, which also binds the bucket to CI.

        :param service: ``asr`` (smart audio, which voice separation needs) or ``media``.
        :return: the binding; ``None`` if the service was open already.
        """
        return self._call(OpenBucket(service), bucket, region)

    def close_bucket(
        self, *, service: str = ASR, bucket: str | None = None, region: str | None = None
    ) -> bool:
        """Close a service for a bucket; return ``False`` if it was not open.

        :param service: ``asr`` (smart audio) or ``media``.
        """
        return self._call(CloseBucket(service), bucket, region)

    def list_buckets(
        self,
        *,
        service: str = ASR,
        regions: Sequence[str] = (),
        bucket_names: Sequence[str] = (),
        bucket_name: str | None = None,
        region: str | None = None,
    ) -> Iterator[BucketBinding]:
        """Return an iterator over the buckets for which a service is open. The region's own host answers.

        :param regions: only buckets of these.
        :param bucket_names: only these buckets.
        :param bucket_name: begin of the bucket's name.
        """
        call = ListBuckets(
            service=service, regions=regions, bucket_names=bucket_names, bucket_name=bucket_name
        )
        return self._pages(call, None, region)


def is_same(template: Template, parameters: VoiceSeparate) -> bool:
    """Tell whether a template has these parameters, and no others."""
    has = template.voice_separate or VoiceSeparate()
    return (has.audio_mode, _config(has)) == (parameters.audio_mode, _config(parameters))


def _config(parameters: VoiceSeparate) -> AudioConfig:
    config = parameters.audio_config or AudioConfig()
    return replace(config, codec=config.codec.lower() if config.codec else None)
