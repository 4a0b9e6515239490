"""What the test of a connection says when it fails."""

from __future__ import annotations

from airflow_provider_ci.exceptions import (
    AuthenticationError,
    ClockSkewError,
    ConfigurationError,
    CredentialsError,
    InvalidResponseError,
    PermissionDeniedError,
    TencentCIError,
    TransportError,
)


def probable_cause(error: TencentCIError, source: str) -> str:
    """Return what in the connection, or around it, has probably caused ``error``.

    :param source: the name of the source of the credentials.
    """
    if isinstance(error, ConfigurationError):
        return "The environment of this process is wrong"
    if isinstance(error, CredentialsError):
        return f"There are no credentials from source {source}"
    if isinstance(error, ClockSkewError):
        return "This machine's clock is wrong"
    if isinstance(error, AuthenticationError):
        return f"The credentials (source {source}) are wrong"
    if isinstance(error, PermissionDeniedError):
        return (
            f"The credentials (source {source}) are not permitted to list the bucket's jobs, or the SecretKey"
            " is wrong"
        )
    if isinstance(error, TransportError):
        return "The service cannot be reached: the region or the endpoint may be wrong"
    is_of_gateway = error.status == 404 and not error.code
    if is_of_gateway or isinstance(error, InvalidResponseError):
        return "The response is not from the service: the endpoint or a proxy may be wrong"
    if error.status in (301, 307, 308, 400, 404):
        return "Bucket or region is wrong"
    return "The service does not work at the moment"
