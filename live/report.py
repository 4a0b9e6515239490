"""The report: JSON for a file and for ``airflow-ci-emulator --as-observed``, Markdown for the terminal.

Nothing of the account is in it. What is written is put together from the kit's own words, numbers, states and
the service's codes; a last search makes sure.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote

from airflow_provider_ci import __version__
from live.facts import Found
from live.observations import Observation

VERSION = 1
# Whatever looks like an id, a key of the account, a signature or a host with a bucket
_SUSPICIOUS = re.compile(
    r"AKID\w|q-sign|q-ak|[0-9a-fA-F]{16}|\d{9}|[\w-]+\.(?:ci|cos)[\w-]*\.[\w-]+\.|https?://|myqcloud|tencentc"
)


_Name = TypeVar("_Name")
_LEFT_OUT = "what was seen names something of the account, or looks so, and was left out"


class SecretInReportError(Exception):
    """The report has something that it must not have. It is not written."""


@dataclass(kw_only=True)
class Report:
    """What was found out.

    :param operators: by the name of an operator, how its job has ended.
    :param paid_jobs: how many jobs the service has accepted, or may have.
    :param error: what has ended the run early, if anything did.
    """

    date: str
    region: str
    observations: dict[Observation, Found] = field(default_factory=dict)
    not_observed: dict[Observation, str] = field(default_factory=dict)
    operators: dict[str, str] = field(default_factory=dict)
    paid_jobs: int = 0
    error: str | None = None

    def deviations(self) -> list[Observation]:
        """Return the observations that differ from what is assumed."""
        return [
            each for each, found in self.observations.items() if not each.agrees(found.value, each.assumed)
        ]

    def leave_out(self, secrets: Collection[str]) -> None:
        """Leave out what has a secret, so that the rest, which was paid for, can be reported."""
        for each, found in [*self.observations.items()]:
            if _find_secret(json.dumps([found.value, found.evidence], ensure_ascii=False), secrets):
                del self.observations[each]
                self.not_observed[each] = _LEFT_OUT
        self.not_observed = _without_reasons(self.not_observed, secrets)
        self.operators = _without_reasons(self.operators, secrets)
        if self.error is not None and _find_secret(self.error, secrets):
            self.error = _LEFT_OUT

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
            "error": self.error,
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
        ended_early = [] if self.error is None else ["", f"The run ended early: {self.error}."]
        lines = [
            f"### make live, {self.date}, {self.region}, airflow-provider-ci {__version__}",
            "",
            f"At most {self.paid_jobs} paid jobs. {len(self.observations)} observations, {len(deviating)}"
            f" differ from what is assumed; {len(self.not_observed)} questions are open.",
            *ended_early,
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
    if found := _find_secret(text, secrets):
        raise SecretInReportError(f"The report would have {found} in it")
    return text


def _without_reasons(reasons: Mapping[_Name, str], secrets: Collection[str]) -> dict[_Name, str]:
    return {name: _LEFT_OUT if _find_secret(reason, secrets) else reason for name, reason in reasons.items()}


def _find_secret(text: str, secrets: Collection[str]) -> str | None:
    """Return what a text must not have, described; ``None`` if it has nothing of that kind."""
    folded = text.casefold()
    if any(form in folded for secret in secrets if secret for form in _forms(secret)):
        return "a name or a secret of your account"
    found = _SUSPICIOUS.search(text)
    return None if found is None else f"something that looks like an id ({found[0][:8]}…)"


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a service may quote a secret, casefolded: plain, for URLs, hex, and base64."""
    data = secret.encode()
    yield from {secret.casefold(), quote(secret, safe="").casefold(), data.hex()}
    for before in range(
        3
    ):  # in base64 it may begin at each of three places; its ends depend on its neighbours
        encoded = b64encode(b"\0" * before + data).decode()
        inner = encoded[(0, 2, 3)[before] : len(encoded.rstrip("=")) - bool(encoded.endswith("="))]
        yield inner.casefold()
        yield inner.replace("+", "-").replace("/", "_").casefold()
