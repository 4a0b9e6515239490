"""Where credentials come from: the connection itself, the environment, or a file.

A source is a frozen value that says all that determines its credentials, so that equal sources can share
them. Its ``fetch`` may block; it raises nothing but :class:`CredentialsError`, without secrets.
"""

from __future__ import annotations

import os
from configparser import ConfigParser
from configparser import Error as ConfigParserError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from airflow_provider_ci.exceptions import CredentialsError
from airflow_provider_ci.protocol.wire import Credentials

#: Variables that Tencent's own tools read (440/96291).
VARIABLES = ("TENCENTCLOUD_SECRET_ID", "TENCENTCLOUD_SECRET_KEY", "TENCENTCLOUD_TOKEN")
#: Files that Tencent's SDKs read, the first that exists.
FILES = ("~/.tencentcloud/credentials", "/etc/tencentcloud/credentials")


class Source(Protocol):
    """Where credentials come from."""

    @property
    def name(self) -> str:
        """The connection's ``credential_source``."""

    @property
    def endpoint_url(self) -> str | None:
        """Address that is asked for them, if it is not Tencent Cloud's own."""

    def fetch(self) -> Credentials:
        """Return credentials, new ones where the source can give them.

        :raises CredentialsError: it has none.
        """


@dataclass(frozen=True, slots=True)
class StaticKeys:
    """The connection's login and password."""

    credentials: Credentials
    name: str = field(default="static", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Return them."""
        return self.credentials


@dataclass(frozen=True, slots=True)
class EnvironmentKeys:
    """Variables of this process's environment."""

    name: str = field(default="environment", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Read them."""
        return checked(
            self.name,
            dict(zip(VARIABLES, map(os.environ.get, VARIABLES), strict=True)),
            VARIABLES,
            "Set them where the tasks run (workers, and the triggerer for deferred tasks)",
        )


@dataclass(frozen=True, slots=True)
class FileKeys:
    """A section of a credentials file in INI form, with ``secret_id``, ``secret_key`` and maybe ``token``.

    :param path: the file; ``None``: the first of ``FILES`` that exists.
    :param profile: the section.
    """

    path: str | None = None
    profile: str = "default"
    name: str = field(default="file", init=False)
    endpoint_url: None = field(default=None, init=False)

    def fetch(self) -> Credentials:
        """Read it anew."""
        path = self._path()
        # a % in a key is not an interpolation
        parser = ConfigParser(interpolation=None)
        hint = "Check credentials_file and profile of the connection, on the machine where the task runs"
        try:
            parser.read_string(path.read_text("utf-8"))
        except (OSError, UnicodeError, ConfigParserError) as error:
            # the parser's errors quote the file
            raise CredentialsError(
                f"The credentials file {path} cannot be read: {type(error).__name__}", hint=hint
            ) from None
        if not parser.has_section(self.profile):
            raise CredentialsError(f"The credentials file {path} has no section {self.profile}", hint=hint)
        names = ("secret_id", "secret_key", "token")
        return checked(f"{self.name} {path}", dict(parser[self.profile]), names, hint)

    def _path(self) -> Path:
        paths = [Path(path).expanduser() for path in ([self.path] if self.path else FILES)]
        return next((path for path in paths if path.exists()), paths[0])


def checked(
    source: str,
    values: object,
    names: tuple[str, str, str],
    hint: str,
    *,
    token_needed: bool = False,
    expires_at: float | None = None,
) -> Credentials:
    """Return the credentials that ``values``, a mapping, holds under the names of id, key and token.

    :raises CredentialsError: one is missing, or is nothing that a header can carry.
    """
    given = values if isinstance(values, dict) else {}
    found = [given.get(name) or None for name in names]
    wanted = [*found] if token_needed else found[:2]
    missing = [name for name, value in zip(names, wanted, strict=False) if value is None]
    malformed = [
        name
        for name, value in zip(names, found, strict=True)
        if value is not None and not (isinstance(value, str) and is_key(value))
    ]
    if missing or malformed:
        wrong = ", ".join([*(f"{n} is missing" for n in missing), *(f"{n} is malformed" for n in malformed)])
        raise CredentialsError(f"No credentials from {source}: {wrong}", hint=hint)
    secret_id, secret_key, token = found
    return Credentials(str(secret_id), str(secret_key), token, expires_at)


def is_key(text: str) -> bool:
    """Tell whether ``text`` can be a key or token: ASCII without blanks around it or control characters."""
    return text == text.strip() and text.isascii() and text.isprintable()
