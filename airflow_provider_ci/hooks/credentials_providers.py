"""Where credentials come from: the connection itself, the environment, or a file.

A credentials provider is a frozen value that holds all that determines its credentials, so that equal ones
can share them. Its ``fetch`` may block; it raises nothing but :class:`CredentialsError`, without secrets.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.protocol.wire import Credentials

#: Variables that Tencent's own tools read (440/96291).
VARIABLES = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN")
#: Files that Tencent's SDKs read; the first that exists counts.
FILES = ("~/.tencentcloud/credentials", "/etc/tencentcloud/credentials")


class CredentialsProvider(Protocol):
    """Where the credentials of a connection come from."""

    @property
    def name(self) -> str:
        """The connection's ``credential_source``."""

    @property
    def endpoint_url(self) -> str | None:
        """Address that is asked for credentials, if it is not Tencent Cloud's own."""

    def fetch(self) -> Credentials:
        """Return credentials, new ones if the provider can issue them.

        :raises CredentialsError: there are none, or the provider cannot be asked.
        """


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """The connection's login and password."""

    credentials: Credentials
    name: str = field(default="static", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Return the connection's credentials."""
        return self.credentials


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """Variables of this process's environment."""

    name: str = field(default="environment", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Read the variables."""
        return read_credentials(
            os.environ,
            VARIABLES,
            origin=self.name,
            hint="Set them where the tasks run (workers, and the triggerer for deferred tasks)",
        )


@dataclass(frozen=True, slots=True)
class FileKeys:
    """A section of a credentials file in INI form, with ``secret_id``, ``secret_key`` and optional ``token``.

    :param path: the file; ``None`` means the first of ``FILES`` that exists.
    :param profile: the section.
    """

    path: str | None = None
    profile: str = "default"
    name: str = field(default="file", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Read the file."""
        path = self._find_file()
        # a % in a key is no interpolation
        parser = ConfigParser(interpolation=None)
        hint = "Check credentials_file and profile of the connection, on the machine where the task runs"
        try:
            parser.read_string(path.read_text("utf-8"))
        except (OSError, UnicodeError, ConfigParserError) as error:
            # "from None", because the parser's errors quote the file
            raise CredentialsError(
                f"The credentials file {path} cannot be read: {type(error).__name__}", hint=hint
            ) from None
        if not parser.has_section(self.profile):
            raise CredentialsError(f"The credentials file {path} has no section {self.profile}", hint=hint)
        names = ("secret_id", "secret_key", "token")
        return read_credentials(parser[self.profile], names, origin=f"{self.name} {path}", hint=hint)

    def _find_file(self) -> Path:
        paths = [Path(path).expanduser() for path in ([self.path] if self.path else FILES)]
        return next((path for path in paths if path.exists()), paths[0])


def read_credentials(
    values: Mapping[str, Any],
    names: tuple[str, str, str],
    *,
    origin: str,
    hint: str,
    is_token_required: bool = False,
    expires_at: object = None,
) -> Credentials:
    """Return the credentials that ``values`` holds.

    :param names: the names of SecretId, SecretKey and token in ``values``.
    :param origin: where the values are from, for the error.
    :param expires_at: the Unix time at which they expire; anything but a number counts as unknown.
    :raises CredentialsError: one is missing, or cannot be sent in a header.
    """
    problems = []
    for name in names:
        value = values.get(name) or None
        is_optional = name == names[2] and not is_token_required
        if value is None and not is_optional:
            problems.append(f"{name} is missing")
        elif value is not None and not (isinstance(value, str) and is_header_value(value)):
            problems.append(f"{name} is malformed")
    if problems:
        raise CredentialsError(f"No credentials from {origin}: {', '.join(problems)}", hint=hint)
    secret_id, secret_key, token = (values.get(name) or None for name in names)
    return Credentials(str(secret_id), str(secret_key), token, _read_time(expires_at))


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text from outside; ``None`` if it is not valid, or nested too deeply."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _read_time(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def is_header_value(text: str) -> bool:
    """Return whether a header can carry ``text``: ASCII without outer whitespace or control characters."""
    return text == text.strip() and text.isascii() and text.isprintable()
