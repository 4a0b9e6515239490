"""What the fault plan does to one call: plain values, made by :mod:`.faults`, obeyed by :mod:`.tampering`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """An answer in place of the true one. Without ``code`` the usual one of the status is taken."""

    status: int
    code: str | None = None
    message: str | None = None
    retry_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """What happens before the emulator acts on a call, or after it has: in this order."""

    delay: float = 0.0
    drop: bool = False
    error: ErrorAnswer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Everything that the rules that apply do to one call.

    :param rules: the ids of those rules.
    :param headers: headers to set in the answer.
    :param truncate: send only so many bytes of the body, under the full Content-Length.
    :param body: send this instead of the body.
    :param list_lag: jobs younger than this, in seconds, are missing in a list.
    :param state: what jobs report as their state.
    :param elements: ``single`` or ``repeated``.
    :param rename: elements to be named otherwise.
    :param empty_times: times that are not known are empty elements, not ``-``.
    :param clock_skew: seconds that the service's clock is ahead.
    """

    rules: tuple[str, ...] = ()
    before: Interruption = field(default_factory=Interruption)
    after: Interruption = field(default_factory=Interruption)
    headers: Mapping[str, str] = field(default_factory=dict)
    truncate: int | None = None
    body: bytes | None = None
    list_lag: float = 0.0
    state: str | None = None
    elements: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    empty_times: bool = False
    clock_skew: float = 0.0

    @property
    def changes_answer(self) -> bool:
        """Whether the answer must not be sent before these effects have been applied."""
        return (
            self.after != Interruption()
            or bool(self.headers)
            or self.truncate is not None
            or self.body is not None
        )


#: A call that no rule applies to.
NO_EFFECTS = Effects()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEffects:
    """What the plan does to the execution of one job.

    :param failure: ``Code`` and ``Message`` that it ends ``Failed`` with.
    :param delay: further seconds that it stays ``Running``, by the emulator's clock.
    """

    rules: tuple[str, ...] = ()
    failure: tuple[str, str] | None = None
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackEffects:
    """What the plan does to one callback.

    :param times: how often it is sent.
    :param early: it is sent while the job is still ``Running``.
    :param delay: seconds, by the emulator's clock, between an early callback and the end of the job.
    """

    rules: tuple[str, ...] = ()
    times: int = 1
    early: bool = False
    delay: float = 0.0
