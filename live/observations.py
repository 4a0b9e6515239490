"""What is assumed of the service: a table of questions, assumptions, and the probes that settle them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from airflow_provider_ci.protocol.job_types.known_types import JOB_TYPES
from live.facts import Facts, Found, NotObservedError
from live.media import FORMATS
from live.probes import batches, cancelling, descriptions, lists, refusals, results


class Stage(Enum):
    """When a probe runs."""

    NEW_BUCKET = "before a service is open for the bucket"
    FREE = "before the first job"
    ENDED = "when all jobs have ended"


def is_equal(observed: object, assumed: object) -> bool:
    """Tell whether the service behaves as assumed."""
    return observed == assumed


def is_at_most(observed: Any, assumed: Any) -> bool:
    """The same, of a number that may be smaller."""
    return bool(observed <= assumed)


def agrees_in_all(observed: Any, assumed: Any) -> bool:
    """The same, of a table: what is in both counts."""
    if isinstance(observed, Mapping) and isinstance(assumed, Mapping):
        return all(agrees_in_all(value, assumed[name]) for name, value in observed.items() if name in assumed)
    return bool(observed == assumed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """One question.

    :param probe: answers it, or raises :class:`~live.facts.NotObservedError`.
    :param needs: the names of the paid jobs that it looks at (:mod:`live.plan`).
    :param agrees: tells whether what was observed is what is assumed.
    :param is_tried: false if the kit cannot settle it, and the probe only says how a person can.
    """

    name: str
    question: str
    assumed: Any
    probe: Callable[[Facts], Found]
    needs: tuple[str, ...] = ()
    stage: Stage = Stage.ENDED
    agrees: Callable[[Any, Any], bool] = is_equal
    is_tried: bool = True


def _not_tried(name: str, question: str, assumed: Any, reason: str) -> Observation:
    """Return a question that the kit cannot settle. The report says how to add what a person has found."""
    value = json.dumps(assumed)
    entry = f'"{name}": {{"observed": {value}}}, with what you have found in place of {value}'

    def probe(_: Facts) -> Found:
        raise NotObservedError(f'{reason}. Then add to "observations" in this file: {entry}')

    return Observation(name=name, question=question, assumed=assumed, probe=probe, is_tried=False)


OBSERVATIONS = (
    Observation(
        name="unbound_bucket",
        question="How is a job refused for a bucket of which no service is open?",
        assumed={"status": 400, "code": "MediaBucketUnBinded"},
        probe=refusals.unbound_bucket,
        needs=("cancelled",),
        stage=Stage.NEW_BUCKET,
    ),
    Observation(
        name="listed_tags",
        question="Jobs of which types can be listed (GET /jobs?tag=…)?",
        assumed={tag: True for tag, kind in JOB_TYPES.items() if kind.is_listed},
        probe=refusals.listed_tags,
        stage=Stage.FREE,
        agrees=agrees_in_all,
    ),
    Observation(
        name="unknown_job",
        question="How does the service describe a job that does not exist?",
        assumed={"status": 200, "form": "NonExistJobIds"},
        probe=refusals.unknown_job,
        stage=Stage.FREE,
    ),
    Observation(
        name="wrong_region",
        question="How is a call refused on the host of another region?",
        assumed={"status": 400, "code": "InvalidHost"},
        probe=refusals.wrong_region,
        stage=Stage.FREE,
    ),
    Observation(
        name="template_not_found",
        question="How is a call refused for a template that does not exist?",
        assumed={"status": 400, "code": "TemplateNotFound"},
        probe=refusals.template_not_found,
        stage=Stage.FREE,
    ),
    Observation(
        name="invalid_argument",
        question="How is a value refused that is not allowed?",
        assumed={"status": 400, "code": "InvalidArgument"},
        probe=refusals.invalid_argument,
        stage=Stage.FREE,
    ),
    Observation(
        name="user_data_in_description",
        question="Does the description of a job have its UserData?",
        assumed=True,
        probe=descriptions.user_data_in_description,
        needs=("placeholder",),
    ),
    Observation(
        name="user_data_in_list",
        question="Does the list of jobs have their UserData?",
        assumed=True,
        probe=lists.user_data_in_list,
        needs=("placeholder",),
    ),
    Observation(
        name="list_lag_seconds",
        question="How long does the list lack a job that was accepted?",
        assumed=10,
        probe=lists.list_lag_seconds,
        needs=("placeholder",),
        agrees=is_at_most,
    ),
    Observation(
        name="ended_lag_seconds",
        question="How long does the list say that a job has not ended although it has?",
        assumed=10,
        probe=lists.ended_lag_seconds,
        needs=("placeholder",),
        agrees=is_at_most,
    ),
    Observation(
        name="list_order_by_time_asc",
        question="Does the list begin with the oldest job if orderByTime is Asc?",
        assumed="honoured",
        probe=lists.list_order_by_time_asc,
        needs=("placeholder", "misspelt"),
    ),
    Observation(
        name="list_ends_included",
        question="Do startCreationTime and endCreationTime include jobs of those very seconds?",
        assumed=True,
        probe=lists.list_ends_included,
        needs=("placeholder",),
    ),
    Observation(
        name="cancel_submitted",
        question="Is a job cancelled that has not begun?",
        assumed="cancelled",
        probe=cancelling.cancel_submitted,
        needs=("cancelled",),
    ),
    Observation(
        name="cancel_running",
        question="What does a cancellation do to a job that is running?",
        assumed={"status": 400, "code": "InvalidArgument", "effect": "none"},
        probe=cancelling.cancel_running,
        needs=("long_key",),
    ),
    Observation(
        name="cancel_ended",
        question="What does a cancellation do to a job that has ended?",
        assumed={"status": 400, "code": "InvalidArgument", "effect": "none"},
        probe=cancelling.cancel_ended,
        needs=("placeholder",),
    ),
    _not_tried(
        "cancelled_job_billed",
        "Does a cancelled job cost anything?",
        False,
        "only the bill shows it: look whether the usage of CI on the day of this run has the job that was"
        " cancelled",
    ),
    Observation(
        name="long_result_key",
        question="Is a result's key of more than 850 bytes accepted?",
        assumed="accepted",
        probe=results.long_result_key,
        needs=("long_key",),
    ),
    Observation(
        name="misspelt_placeholder",
        question="What does a misspelt placeholder become in a result's key?",
        assumed="literal",
        probe=results.misspelt_placeholder,
        needs=("misspelt",),
    ),
    Observation(
        name="placeholder_jobid",
        question="Is ${jobid} replaced in types other than voice separation?",
        assumed="replaced",
        probe=results.placeholder_jobid,
        needs=("placeholder",),
    ),
    Observation(
        name="same_result_key",
        question="What happens to an object that has the key of a result?",
        assumed="overwritten",
        probe=results.same_result_key,
        needs=("same_key",),
    ),
    Observation(
        name="input_formats",
        question="Which formats of inputs can be read?",
        assumed=dict.fromkeys(FORMATS, True),
        probe=results.input_formats,
        needs=("misspelt", "same_key", "transcode", "media_info", "speech_recognition"),
        agrees=agrees_in_all,
    ),
    Observation(
        name="codec_containers",
        question="Which codecs can be written into which containers?",
        assumed={"mp3": {"mp3": True}, "wav": {"pcm_s16le": True}},
        probe=results.codec_containers,
        needs=("placeholder", "misspelt"),
        agrees=agrees_in_all,
    ),
    Observation(
        name="callback_kafka_config",
        question="Is a callback to Kafka accepted?",
        assumed="accepted",
        probe=results.callback_kafka_config,
        needs=("cancelled",),
    ),
    Observation(
        name="input_url",
        question="May the input of types other than speech recognition be a URL?",
        assumed=True,
        probe=results.input_url,
        needs=("placeholder",),
    ),
    Observation(
        name="samplerate_spelling",
        question="Which spelling of the sample rate does noise reduction read?",
        assumed="both",
        probe=results.samplerate_spelling,
        needs=("same_key", "noise_reduction"),
    ),
    Observation(
        name="progress",
        question="Does the description of a job have its progress?",
        assumed="percentage",
        probe=descriptions.progress,
        needs=("placeholder",),
    ),
    Observation(
        name="job_id_length",
        question="How many characters has the id of a job?",
        assumed=33,
        probe=descriptions.job_id_length,
        needs=("placeholder",),
    ),
    Observation(
        name="timestamps_offset",
        question="Which offset do the service's times have?",
        assumed="+0800",
        probe=descriptions.timestamps_offset,
        needs=("placeholder",),
    ),
    Observation(
        name="batch_id_length",
        question="How many characters has the id of a batch job?",
        assumed=33,
        probe=batches.batch_id_length,
        needs=("batch",),
    ),
    Observation(
        name="batch_user_data",
        question="Does the description of a batch job have its UserData?",
        assumed=True,
        probe=batches.batch_user_data,
        needs=("batch",),
    ),
)
