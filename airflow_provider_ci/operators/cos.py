"""Uploads a file of the worker to COS, and downloads an object to the worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.operators.argument_errors import argument_error, fail_without_retry
from airflow_provider_ci.operators.base import TencentCIBaseOperator
from airflow_provider_ci.operators.parse_checks import check_when_parsed
from airflow_provider_ci.operators.rendered_arguments import read_arguments
from airflow_provider_ci.protocol.rules import file_key_problems, raise_if_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context


class _TransferOperator(TencentCIBaseOperator):
    """Copies a file of the worker to an object or back."""

    template_fields: Sequence[str] = ("path", "key", *TencentCIBaseOperator.template_fields)
    parse_check_examples = ({"path": "example", "key": "example"},)

    def __init__(self, *, path: str, key: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.key = key
        check_when_parsed(self)

    def validate_arguments(self, endpoint: Any) -> None:
        """Check the arguments.

        :raises RequestValidationError: there is no path, or the key cannot be an object's.
        """
        super().validate_arguments(endpoint)
        arguments = read_arguments(self, ("path", "key"))
        if not arguments["path"]:
            raise argument_error("path", self.path, "the path of a file")
        raise_if_any(file_key_problems("key", arguments["key"]))

    def _check(self) -> None:
        with fail_without_retry(self):
            self.validate_arguments(None)
            self.hook.settings.endpoint(**self.bucket_and_region)


class TencentCOSUploadOperator(_TransferOperator):
    """Uploads a file of at most 5 GB, and returns the object's key.

    The service checks the MD5. The object's content type follows from the key's extension, else from the
    path's. An object that is already there is replaced. The file must be on the disk of the worker that runs
    the task: another task may have run on another worker.

    .. seealso:: ``docs/operators.md``

    :param path: of the file on the worker. (templated)
    :param key: of the object. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the object's bucket; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    def execute(self, context: Context) -> str:  # noqa: ARG002 - as Airflow calls it
        """Upload the file.

        :raises OSError: the file cannot be read.
        :raises ServiceError: the service refuses the object.
        """
        self._check()
        stored = self.hook.upload_file(self.path, self.key, **self.bucket_and_region)
        self.log.info("Uploaded %s as %s: %d bytes, MD5 %s", stored.path, self.key, stored.size, stored.md5)
        return self.key


class TencentCOSDownloadOperator(_TransferOperator):
    """Downloads an object, and returns the path of the file.

    Folders are made. The file appears only when it is complete, and replaces one that is already there. It
    is on the disk of the worker that runs the task: another task may run on another worker.

    .. seealso:: ``docs/operators.md``

    :param key: of the object. (templated)
    :param path: of the file on the worker. (templated)
    :param tencent_ci_conn_id: the Airflow connection. (templated)
    :param bucket: the object's bucket; default: the connection's. (templated)
    :param region: its region; default: the connection's. (templated)
    """

    def execute(self, context: Context) -> str:  # noqa: ARG002 - as Airflow calls it
        """Download the object.

        :raises NotFoundError: there is no such object.
        :raises OSError: the file cannot be written.
        """
        self._check()
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        stored = self.hook.download_file(self.key, self.path, **self.bucket_and_region)
        self.log.info("Downloaded %s as %s: %d bytes, MD5 %s", self.key, stored.path, stored.size, stored.md5)
        return stored.path
