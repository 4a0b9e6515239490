"""The paid jobs, what they may cost, and the question whether to submit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from live.media import SECONDS
from live.observations import OBSERVATIONS, Observation
from live.options import Options

CONFIRMATION = "pay"
# USD for a minute, from Tencent's international page of 2023; others are not known here
_KNOWN_PRICES = {"VoiceSeparate": 0.012}
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
    PaidJob(name="cancelled", tag="Transcode", media=f"{SECONDS} s of speech, cancelled at once"),
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
        name="unbound",
        tag="Transcode",
        media=f"{SECONDS} s of speech; it is expected to be refused, and cancelled if it is not",
    ),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The observations to make, and the paid jobs for them."""

    observations: tuple[Observation, ...]
    jobs: tuple[PaidJob, ...]
    prices: Mapping[str, float]

    @property
    def names(self) -> set[str]:
        """The names of the jobs."""
        return {job.name for job in self.jobs}

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
        lines = [f"At most {len(self.jobs)} paid jobs:"]
        for job in self.jobs:
            by = f" by {job.operator} in Airflow" if job.operator else ""
            lines.append(f"  {job.tag}: {job.media}{by}")
            what = [*settles[job.name], *([f"whether {job.operator} works"] if job.operator else [])]
            lines.append(f"    settles: {', '.join(what)}")
        free = [each.name for each in self.observations if each.is_tried and not each.needs]
        lines.append(f"Free of charge: {', '.join(free) or 'nothing'}")
        lines.append("Cost, at most (each result counts as a whole minute):")
        known, unknown = 0.0, []
        for (tag, unit), count in self.units().items():
            price = self.prices.get(tag)
            quantity = f"{count} {unit}{'s' if count > 1 else ''}"
            if price is None:
                unknown.append(tag)
                lines.append(f"  {tag}: {quantity}, at a price that is not known here")
            else:
                known += count * price
                lines.append(f"  {tag}: {quantity} x {price:g} USD = {count * price:.4f} USD")
        lines.append(f"  Together: {known:.4f} USD{' and what is not known here' if unknown else ''}")
        if "VoiceSeparate" in {job.tag for job in self.jobs}:
            lines.append(
                "  The price of VoiceSeparate, if you gave none, is that of the international site in 2023."
            )
        if unknown:
            lines.append(f"  Look up the prices of {', '.join(unknown)}: {_PRICE_PAGES}.")
            lines.append("  Then, for instance: make live ARGS='--price Transcode=0.01'")
        lines.append(
            "Storage, requests and traffic of COS cost what they always cost: a few megabytes, for minutes."
        )
        return lines


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
    return Plan(observations, jobs[: options.max_jobs], {**_KNOWN_PRICES, **options.prices})


def _choose_jobs(
    observations: Iterable[Observation], *, is_complete: bool, can_create_bucket: bool
) -> tuple[PaidJob, ...]:
    """Return the jobs that the observations need; a complete run has one of each typed operator, too."""
    needed = {name for each in observations for name in each.needs}
    jobs: Sequence[PaidJob] = [
        job for job in PAID_JOBS if job.name in needed or (is_complete and job.operator)
    ]
    return tuple(job for job in jobs if can_create_bucket or job.name != "unbound")


def confirm(plan: Plan, options: Options, say: Callable[[str], None], terminal: TextIO) -> bool:
    """Ask whether the jobs may be submitted."""
    if not plan.jobs or options.yes:
        return True
    if not terminal.isatty():
        say("Nothing was created: there is no terminal to ask on. To agree in advance: make live ARGS=--yes")
        return False
    say(f"Type {CONFIRMATION} to create a bucket and submit these jobs; anything else ends here.")
    if terminal.readline().strip() == CONFIRMATION:
        return True
    say("Nothing was created.")
    return False
