"""What a refused call can be saved by: newer credentials, or the service's time; each once."""

from __future__ import annotations

import time
from typing import Any

from airflow_provider_ci.exceptions import ClockSkewError, TencentCIError
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.errors import is_key_doubtful, is_key_refused, is_not_accepted
from airflow_provider_ci.protocol.wire import Credentials


class Recovery:
    """Of one ``call``. Begin each of its attempts with :meth:`begin` or :meth:`abegin`, which give the
    credentials to sign with; after a failed one ask :meth:`should_retry_after_refresh`.
    """

    def __init__(self, settings: ConnectionSettings, call: ApiRequest[Any]) -> None:
        self._call = call
        self._provider = settings.provider
        self._clock = settings.clock
        self._used: Credentials | None = None
        self._offset = 0.0
        self._refused: Credentials | None = None
        self._refusal: TencentCIError | None = None
        self._clock_was_asked = False

    def begin(self) -> Credentials:
        """Return the credentials of the next attempt.

        :raises CredentialsError: there are none.
        :raises AuthenticationError: the service refused them before, and the source has no others.
        """
        if self._refused is None:
            return self._taken(self._provider.get())
        return self._taken(self._provider.refresh(self._refused))

    async def abegin(self) -> Credentials:
        """Do what :meth:`begin` does without blocking the event loop."""
        if self._refused is None:
            return self._taken(await self._provider.aget())
        return self._taken(await self._provider.arefresh(self._refused))

    def should_retry_after_refresh(self, error: TencentCIError) -> bool:
        """Tell whether another attempt may help at once, and may be made: a refused request was not carried
        out, so that this holds for a submission too. But not when the code of a refusal came with a status
        that leaves it open. A call with an end of its own must be made anew when the service's clock turns
        out to be another.
        """
        if not (self._call.idempotent or is_not_accepted(error)):
            return False
        if isinstance(error, ClockSkewError) and not self._clock_was_asked:
            self._clock_was_asked = True
            error.corrected = self._clock.learn(error.server_time, time.time(), self._offset)
            return error.corrected and self._call.expires_at is None
        is_doubtful = is_key_doubtful(error)
        if self._refusal is not None:
            if is_doubtful:
                self._provider.note_useless_refresh()
            return False
        if is_key_refused(error) or (is_doubtful and self._provider.may_refresh_on_suspicion()):
            self._refused, self._refusal = self._used, error
            return True
        return False

    def _taken(self, credentials: Credentials) -> Credentials:
        if self._refusal is not None and credentials == self._refused:
            raise self._refusal
        self._refused = None
        self._used, self._offset = credentials, self._clock.offset
        return credentials
