"""What follows a failed attempt of a call: newer credentials, the service's time, a pause, or the error.

Nothing here sends, waits or asks for credentials. The hook and the asynchronous client drive it alike::

    attempts = Attempts(request, endpoint, settings)
    while True:
        try:
            credentials = settings.credentials.get(newer_than=attempts.refused_credentials)
            return request.parse(send(attempts.sign(credentials)))
        except TencentCIError as error:
            pause = attempts.recover_from(error)
        sleep(pause)
"""

from __future__ import annotations

import math
import time
from typing import Any

from airflow_provider_ci import metrics
from airflow_provider_ci.exceptions import ClockSkewError, TencentCIError
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.protocol.api_request import ApiRequest
from airflow_provider_ci.protocol.errors import (
    is_not_accepted,
    may_reject_credentials,
    name_action,
    rejects_credentials,
)
from airflow_provider_ci.protocol.wire import Credentials, Endpoint, SignedRequest, sign_request


class Attempts:
    """The attempts of one call.

    :param max_attempts: how many may fail before the call fails; never more than the connection says.
    """

    def __init__(
        self,
        request: ApiRequest[Any],
        endpoint: Endpoint,
        settings: ConnectionSettings,
        *,
        max_attempts: float = math.inf,
    ) -> None:
        #: Credentials that the service has refused; the next attempt needs newer ones.
        self.refused_credentials: Credentials | None = None
        #: Failed attempts, without those that were repeated at once.
        self.failed = 0
        self._request = request
        self._endpoint = endpoint
        self._credentials = settings.credentials
        self._clock = settings.clock
        self._retry = settings.retry
        self._max_attempts = max_attempts
        self._used: Credentials | None = None
        self._used_offset = 0.0
        self._refusal: TencentCIError | None = None
        self._has_corrected_clock = False

    def sign(self, credentials: Credentials) -> SignedRequest:
        """Return the request of the next attempt. Each attempt has its own signature, because they expire.

        :raises AuthenticationError: the service has refused these very credentials, and there are no others.
        """
        if self._refusal is not None and credentials == self.refused_credentials:
            raise self._refusal
        self.refused_credentials = None
        self._used = credentials
        self._used_offset = self._clock.offset
        metrics.count_request(self._request.purpose)
        return sign_request(
            self._request.http_request(),
            self._endpoint,
            credentials,
            now=self._clock.now(),
            expires_at=self._request.expires_at,
        )

    def recover_from(self, error: TencentCIError, *, time_left: float = math.inf) -> float:
        """Prepare the attempt after one that failed with ``error``; return the seconds to wait before it.

        A refused signature is corrected once and the request sent again at once (0.0). This holds for a
        submission too, if its refusal proves that the service did not accept it.

        :param time_left: seconds after which no attempt may begin any more.
        :raises TencentCIError: ``error`` itself, if there is no further attempt.
        """
        is_safe = self._request.idempotent or is_not_accepted(error)
        if is_safe and self._correct_signature(error):
            return 0.0
        self.failed += 1
        if self._request.expires_at is not None:
            # the signature's end, which has whole seconds
            time_left = min(time_left, int(self._request.expires_at) - self._clock.now())
        pause = self._retry.pause_after(
            self.failed, error, idempotent=self._request.idempotent, time_left=time_left
        )
        if pause is None or self.failed >= self._max_attempts:
            name_action(error, self._request.cam_actions)
            raise error
        return pause

    def _correct_signature(self, error: TencentCIError) -> bool:
        """Correct what the service refused in the signature; return whether to send the request again."""
        if isinstance(error, ClockSkewError) and not self._has_corrected_clock:
            return self._correct_clock(error)
        return self._reject_credentials(error)

    def _correct_clock(self, error: ClockSkewError) -> bool:
        self._has_corrected_clock = True
        error.corrected = self._clock.correct(error.server_time, time.time(), used_offset=self._used_offset)
        # expires_at was computed by the wrong clock: the caller computes it again
        return error.corrected and self._request.expires_at is None

    def _reject_credentials(self, error: TencentCIError) -> bool:
        is_doubtful = may_reject_credentials(error)
        if self._refusal is not None:  # these were the newer ones
            if is_doubtful:
                self._credentials.note_useless_refresh()
            return False
        if rejects_credentials(error) or (is_doubtful and self._credentials.may_refresh_on_suspicion()):
            self.refused_credentials = self._used
            self._refusal = error
            return True
        return False
