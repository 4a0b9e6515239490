"""Which jobs that have ended a DAG wants. DAG files load this module, so it loads no XML library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_ci.protocol.rules import Problem, choice_problems

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.ended_jobs import EndedJobEvent

#: The states in which a job ends.
END_STATES = ("Success", "Failed", "Cancel")


@dataclass(frozen=True, slots=True)
class EndedJobFilter:
    """Which jobs that have ended are wanted.

    :param input_prefix: only jobs whose input has a key that begins so; by default all, also those without
        an input object.
    :param states: only jobs that ended in these states.
    """

    input_prefix: str | None = None
    states: Sequence[str] = END_STATES

    def matches(self, event: EndedJobEvent) -> bool:
        """Return whether a job is wanted."""
        if event["state"] not in self.states:
            return False
        return not self.input_prefix or (event["input_object"] or "").startswith(self.input_prefix)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem for each argument that cannot work."""
        prefix: object = self.input_prefix
        if not (prefix is None or isinstance(prefix, str)) or str(prefix).startswith("/"):
            yield Problem("input_prefix", prefix, "the beginning of object keys, without / before it")
        states: object = self.states
        # each character of a string would count as a state
        if isinstance(states, str) or not isinstance(states, Sequence) or not states:
            yield Problem("states", states, f"a list of states: {', '.join(END_STATES)}")
            return
        for state in states:
            yield from choice_problems("an element of states", state, END_STATES)
