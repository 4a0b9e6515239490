"""The report: JSON for a file and for ``airflow-ci-emulator --as-observed``, Markdown for the terminal.

Nothing of the account is in it. What is written is put together from the kit's own words, numbers, states and
the service's codes; a last search makes sure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_ci import __version__
from live.facts import Found
from live.observations import Observation

VERSION = 1
# Whatever looks like an id, a key of the account, a signature or a host with a bucket
_SUSPICIOUS = re.compile(
    r"AKID\w|q-sign|q-ak|[0-9a-fA-F]{16}|\d{9}|[\w-]+\.(?:ci|cos)[\w-]*\.[\w-]+\.|https?://|myqcloud|tencentc"
)


class SecretInReportError(Exception):
    """The report has something that it must not have. It is not written."""


@dataclass(kw_only=True)
class Report:
    """What was found out.

    :param operators: by the name of an operator, how its job has ended.
    :param paid_jobs: how many jobs the service has accepted.
    """

    date: str
    region: str
    observations: dict[Observation, Found] = field(default_factory=dict)
    not_observed: dict[Observation, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)
    paid_jobs: int = 0

    def deviations(self) -> list[Observation]:
        """Return the observations that differ from what is assumed."""
        return [
            each for each, found in self.observations.items() if not each.agrees(found.value, each.assumed)
        ]

    def as_tree(self) -> dict[str, Any]:
        """Return what the file has."""
        return {
            "version": VERSION,
            "provider": __version__,
            "date": self.date,
            "region": self.region,
            "observations": {
                each.name: {
                    "question": each.question,
                    "assumed": each.assumed,
                    "observed": found.value,
                    "evidence": found.evidence,
                }
                for each, found in self.observations.items()
            },
            "not_observed": {each.name: reason for each, reason in self.not_observed.items()},
            "operators": self.operators,
            "paid_jobs": self.paid_jobs,
        }

    def as_json(self, secrets: Collection[str]) -> str:
        """Return the file's text.

        :param secrets: what it must not have.
        :raises SecretInReportError: it has one of them, or something that looks like one.
        """
        return _without_secrets(json.dumps(self.as_tree(), indent=1, ensure_ascii=False) + "\n", secrets)

    def as_markdown(self, secrets: Collection[str]) -> str:
        """Return a summary that can be pasted into an issue. Raises as :meth:`as_json` does."""
        deviating = self.deviations()
        lines = [
            f"### make live, {self.date}, {self.region}, airflow-provider-ci {__version__}",
            "",
            f"{self.paid_jobs} paid jobs. {len(self.observations)} observations, {len(deviating)} differ from"
            f" what is assumed; {len(self.not_observed)} questions are open.",
            "",
            "| Observation | Assumed | Observed | |",
            "|---|---|---|---|",
        ]
        for each, found in self.observations.items():
            verdict = "**differs**" if each in deviating else "as assumed"
            lines.append(
                f"| `{each.name}` | {_shown(each.assumed, found.value)} | {_shown(found.value)} | {verdict} |"
            )
        if self.not_observed:
            lines += ["", "| Not observed | |", "|---|---|"]
            lines += [f"| `{each.name}` | {reason} |" for each, reason in self.not_observed.items()]
        if self.operators:
            lines += ["", "| Operator, in Airflow | |", "|---|---|"]
            lines += [f"| `{name}` | {ended} |" for name, ended in self.operators.items()]
        return _without_secrets("\n".join(lines) + "\n", secrets)


def _shown(value: Any, beside: Any = None) -> str:
    """Return a value for a table; of long ones, what differs from the value beside it."""
    if isinstance(value, Mapping) and len(value) > 6:
        if isinstance(beside, Mapping):
            value = {name: one for name, one in value.items() if name in beside and beside[name] != one}
            return f"`{json.dumps(value)}`, and the others as observed" if value else "the same"
        return f"{len(value)} values, {sum(map(bool, value.values()))} of them true"
    return f"`{json.dumps(value)}`"


def _without_secrets(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        if secret and secret in text:
            raise SecretInReportError("The report would have a name or a secret of your account in it")
    found = _SUSPICIOUS.search(text)
    if found is not None:
        raise SecretInReportError(f"The report would have something that looks like an id: {found[0][:8]}…")
    return text
