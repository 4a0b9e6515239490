"""The paid jobs, what they may cost, and the question whether to submit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TextIO

from live.media import SECONDS
from live.observations import OBSERVATIONS, Observation, Stage
from live.options import Options

CONFIRMATION = "pay"
# USD for a minute. Others are not known here
_KNOWN_PRICES = {"VoiceSeparate": 0.012}
_ORIGIN = "the international site's in 2023"
_PRICE_PAGES = (
    "the pages about fees in CI's documents (smart audio: 436/84601), or your console's page of prices"
)
SPOKEN_TEXT = "Good morning."


@dataclass(frozen=True, slots=True, kw_only=True)
class PaidJob:
    """A job that may be paid for.

    :param operator: the operator that submits it in real Airflow; empty: the hook does.
    :param units: how many of ``unit`` it may cost at most. How durations are rounded is not known, so each
        file of a few seconds counts as a whole minute.
    """

    name: str
    tag: str
    operator: str = ""
    media: str
    units: int = 1
    unit: str = "minute"


PAID_JOBS = (
    PaidJob(name="placeholder", tag="Transcode", media=f"{SECONDS} s of speech in wav, by its URL, to mp3"),
    PaidJob(name="misspelt", tag="Transcode", media=f"{SECONDS} s of speech in ogg to wav"),
    PaidJob(
        name="cancelled",
        tag="Transcode",
        media=f"{SECONDS} s of speech, cancelled at once; tried before a service is open, too",
    ),
    PaidJob(name="long_key", tag="Transcode", media=f"{SECONDS} s of speech, cancelled while it runs"),
    PaidJob(name="same_key", tag="NoiseReduction", media=f"{SECONDS} s of speech in wav"),
    PaidJob(
        name="voice_separate",
        tag="VoiceSeparate",
        operator="VoiceSeparateOperator",
        media=f"{SECONDS} s of speech, 2 results",
        units=2,
    ),
    PaidJob(
        name="transcode",
        tag="Transcode",
        operator="TranscodeOperator",
        media=f"{SECONDS} s of speech in m4a",
    ),
    PaidJob(
        name="noise_reduction",
        tag="NoiseReduction",
        operator="NoiseReductionOperator",
        media=f"{SECONDS} s of speech in wav",
    ),
    PaidJob(
        name="speech_recognition",
        tag="SpeechRecognition",
        operator="SpeechRecognitionOperator",
        media=f"{SECONDS} s of speech in mp3",
    ),
    PaidJob(
        name="text_to_speech",
        tag="Tts",
        operator="TextToSpeechOperator",
        media=f"{len(SPOKEN_TEXT)} characters",
        units=len(SPOKEN_TEXT),
        unit="character",
    ),
    PaidJob(
        name="media_info",
        tag="MediaInfo",
        operator="TencentCIJobOperator",
        media=f"{SECONDS} s of speech in flac",
        unit="call",
    ),
    PaidJob(
        name="batch",
        tag="VoiceSeparate",
        media=f"{SECONDS} s of speech, of a batch job with one input, 1 result",
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The observations to make, and the paid jobs for them.

    :param prices: the user's, in USD by type of job.
    """

    observations: tuple[Observation, ...]
    jobs: tuple[PaidJob, ...]
    prices: Mapping[str, float]

    @property
    def names(self) -> set[str]:
        """The names of the jobs."""
        return {job.name for job in self.jobs}

    def names_for(self, stage: Stage) -> set[str]:
        """Return the names of the jobs that the observations of a stage look at."""
        return self.names & {name for each in self.observations if each.stage is stage for name in each.needs}

    def units(self) -> dict[tuple[str, str], int]:
        """Return the most that may be paid for: units by type of job and unit."""
        sums: dict[tuple[str, str], int] = {}
        for job in self.jobs:
            sums[job.tag, job.unit] = sums.get((job.tag, job.unit), 0) + job.units
        return sums

    def lines(self) -> list[str]:
        """Return the plan for the terminal."""
        settles = {
            job.name: [each.name for each in self.observations if job.name in each.needs] for job in self.jobs
        }
        lines = [f"At most {len(self.jobs)} paid jobs:" if self.jobs else "No paid jobs."]
        for job in self.jobs:
            by = f" by {job.operator} in Airflow" if job.operator else ""
            lines.append(f"  {job.tag}: {job.media}{by}")
            what = [*settles[job.name], *([f"whether {job.operator} works"] if job.operator else [])]
            lines.append(f"    settles: {', '.join(what)}")
        free = [each.name for each in self.observations if each.is_tried and not each.needs]
        lines.append(f"Free of charge: {', '.join(free) or 'nothing'}")
        if self.jobs:
            lines += self._cost()
        lines.append(
            "Storage, requests and traffic of COS cost what they always cost: a few megabytes, for minutes."
        )
        return lines

    def _cost(self) -> list[str]:
        """Return what may be billed, for the terminal."""
        lines = ["At most this is billed, if each result of a few seconds counts as a whole minute:"]
        known, unknown = 0.0, []
        for (tag, unit), count in self.units().items():
            quantity = f"{count} {unit}{'s' if count > 1 else ''}"
            price = self.prices.get(tag, _KNOWN_PRICES.get(tag))
            if price is None:
                unknown.append(tag)
                lines.append(f"  {tag}: {quantity}; the price is not known here")
            else:
                known += count * price
                whose = "yours" if tag in self.prices else _ORIGIN
                lines.append(f"  {tag}: {quantity} x {price:g} USD ({whose}) = {count * price:.4f} USD")
        if not unknown:
            return [*lines, f"  Together, by these prices: {known:.4f} USD"]
        return [
            *lines,
            "  That bounds the number and length of the jobs, not the money:"
            f" {known:.4f} USD is only the sum of what has a price here.",
            f"  Look up the prices of {', '.join(unknown)}: {_PRICE_PAGES}.",
            f"  Then, for instance: make live ARGS='--price {unknown[0]}=0.01'",
        ]


def make_plan(options: Options, *, can_create_bucket: bool) -> Plan:
    """Choose observations and jobs.

    :raises ValueError: ``--only`` or ``--price`` names something that does not exist.
    """
    known = {each.name for each in OBSERVATIONS}
    if unknown := sorted(set(options.only) - known):
        raise ValueError(f"--only is {' '.join(unknown)}, allowed: {' '.join(sorted(known))}")
    tags = {job.tag for job in PAID_JOBS}
    if unknown := sorted(set(options.prices) - tags):
        raise ValueError(f"--price is for {' '.join(unknown)}, allowed: {' '.join(sorted(tags))}")
    observations = tuple(each for each in OBSERVATIONS if not options.only or each.name in options.only)
    jobs = _choose_jobs(observations, is_complete=not options.only, can_create_bucket=can_create_bucket)
    return Plan(observations, jobs[: options.max_jobs], options.prices)


def _choose_jobs(
    observations: Iterable[Observation], *, is_complete: bool, can_create_bucket: bool
) -> tuple[PaidJob, ...]:
    """Return the jobs that the observations need; a complete run has one of each typed operator, too."""
    needed = {
        name
        for each in observations
        if can_create_bucket or each.stage is not Stage.NEW_BUCKET
        for name in each.needs
    }
    return tuple(job for job in PAID_JOBS if job.name in needed or (is_complete and job.operator))


def confirm(plan: Plan, options: Options, say: Callable[[str], None], terminal: TextIO) -> bool:
    """Ask whether anything may be created in the account, whether it is paid for or not."""
    if options.yes:
        return True
    if not terminal.isatty():
        say("Nothing was created: there is no terminal to ask on. To agree in advance: make live ARGS=--yes")
        return False
    what = "create a bucket" if options.bucket is None else "write below a new prefix of that bucket"
    jobs = " and submit these jobs" if plan.jobs else ""
    say(f"Type {CONFIRMATION} to {what}{jobs}; anything else ends here.")
    if terminal.readline().strip() == CONFIRMATION:
        return True
    say("Nothing was created.")
    return False
