"""Probes of inputs and results: keys, placeholders, formats."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_ci.exceptions import NotFoundError
from airflow_provider_ci.protocol.jobs import FAILED, Job
from live.facts import Facts, Found, NotObservedError, outcome, shown_code, variant_or_refusal
from live.job_requests import WANTED_RATE, occupied_key
from live.media import sample_rate

#: The format of the input of each job of the hook, by the variant that has it.
_INPUTS = {"misspelt": "ogg", "same_key": "wav"}
#: Container and codec of the result of each transcoding of the hook.
_CONTAINERS = {"placeholder": ("mp3", "mp3"), "misspelt": ("wav", "pcm_s16le")}


def placeholder_jobid(facts: Facts) -> Found:
    """Look for the result of a transcoding with ``${jobid}`` in its key."""
    job = facts.successful_job("placeholder")
    name = _result_name(facts, "placeholder-")
    if name == f"placeholder-{job.job_id}.mp3":
        return Found("replaced", "Transcode with ${jobid} in Output.Object")
    if name == "placeholder-${jobid}.mp3":
        return Found("literal", "Transcode with ${jobid} in Output.Object")
    raise NotObservedError("the result has a key in which ${jobid} has become something else")


def misspelt_placeholder(facts: Facts) -> Found:
    """Look for the result of a transcoding with ``${jobId}`` in its key."""
    refused = variant_or_refusal(facts.job("misspelt"), "misspelt")
    if refused is not None:
        return Found(refused, "POST /jobs of Transcode with ${jobId} in Output.Object")
    job = facts.successful_job("misspelt")
    name = _result_name(facts, "misspelt")
    for value, expected in (("literal", "misspelt-${jobId}.wav"), ("removed", "misspelt-.wav")):
        if name == expected:
            return Found(value, "Transcode with ${jobId} in Output.Object")
    if name == f"misspelt-{job.job_id}.wav":
        raise NotObservedError("the service replaces ${jobId} as it does ${jobid}: case does not matter")
    raise NotObservedError("the result has a key in which ${jobId} has become something else")


def long_result_key(facts: Facts) -> Found:
    """Look whether the key of 851 bytes was accepted."""
    job = facts.job("long_key")
    refused = variant_or_refusal(job, "long")
    if refused is not None:
        return Found(refused, "POST /jobs of Transcode with Output.Object of 851 bytes")
    how = f"the job, which the kit tried to cancel, ended {outcome(job.description)}"
    return Found("accepted", f"POST /jobs of Transcode with Output.Object of 851 bytes; {how}")


def same_result_key(facts: Facts) -> Found:
    """Look whether a result has replaced the object that had its key."""
    refused = variant_or_refusal(facts.job("same_key"), "same")
    if refused is not None:
        return Found(refused, "POST /jobs of NoiseReduction with the key of an object")
    facts.successful_job("same_key")
    try:
        head = facts.hook.head_object(occupied_key(facts.place), **facts.where)
    except NotFoundError:
        raise NotObservedError("the object has disappeared") from None
    value = "kept" if head.etag == facts.occupied_etag else "overwritten"
    return Found(value, "NoiseReduction with the key of an object")


def input_formats(facts: Facts) -> Found:
    """Look which formats the jobs could read: one that succeeded shows that, one that failed that not."""
    ended = [*_ended_jobs(facts)]
    if not any(job.job_state.is_successful for _, job in ended):
        raise NotObservedError("no job with an object as its input has ended Success")
    formats: dict[str, bool] = {}
    codes = set()
    for extension, job in ended:
        if job.job_state.is_successful:
            formats[extension] = True
        elif job.job_state == FAILED:
            formats.setdefault(extension, False)
            codes.add(shown_code(job.code))
    failed = f"; of the others, a job failed with code {', '.join(sorted(codes))}" if codes else ""
    return Found(dict(sorted(formats.items())), f"jobs with such inputs ended Success{failed}")


def codec_containers(facts: Facts) -> Found:
    """Look which containers and codecs transcodings could write."""
    containers: dict[str, dict[str, bool]] = {}
    for name, (container, codec) in _CONTAINERS.items():
        job = facts.watch.jobs.get(name)
        if job is None or job.error is not None:
            continue
        if job.job_id is None:
            containers.setdefault(container, {})[codec] = False
        elif job.state.is_successful:
            containers.setdefault(container, {})[codec] = True
    if not containers:
        raise NotObservedError("no transcoding of the hook has ended Success or was refused")
    return Found(containers, "Transcode: Container.Format and Audio.Codec; false was refused")


def input_url(facts: Facts) -> Found:
    """Look whether a transcoding has read its input from a URL."""
    refused = variant_or_refusal(facts.job("placeholder"), "url")
    if refused is not None:
        how = f"refused with HTTP {refused['status']} {refused['code']}; Input.Object was accepted"
        return Found(False, f"POST /jobs of Transcode with Input.Url: {how}")
    job = facts.accepted_job("placeholder")
    if not job.state.is_successful:
        raise NotObservedError(f"Input.Url was accepted, but the job ended {outcome(job.description)}")
    return Found(True, "Transcode with Input.Url, a signed address of an object; it ended Success")


def callback_kafka_config(facts: Facts) -> Found:
    """Look whether a callback to Kafka was accepted."""
    job = facts.job("cancelled")
    if job.variant == "unbound":
        raise NotObservedError("a job was accepted before a service was open, and no other one was submitted")
    refused = variant_or_refusal(job, "kafka")
    how = "POST /jobs with CallBackKafkaConfig, of a topic that does not exist; delivery was not tried"
    return Found("accepted" if refused is None else refused, how)


def samplerate_spelling(facts: Facts) -> Found:
    """Read the sample rates of the results of both jobs of noise reduction."""
    facts.successful_job("same_key")
    airflow_job = facts.airflow_jobs.get("noise_reduction")
    if airflow_job is None or airflow_job.description is None:
        raise NotObservedError("no job of NoiseReductionOperator was seen")
    if not airflow_job.description.job_state.is_successful:
        raise NotObservedError(f"the operator's job ended {outcome(airflow_job.description)}")
    keys = {
        "Samplerate": f"{facts.place.prefix}out/noise_reduction.wav",
        "SampleRate": occupied_key(facts.place),
    }
    rates = {spelling: _sample_rate(facts, key) for spelling, key in keys.items()}
    if None in rates.values():
        raise NotObservedError("a result is no WAV file")
    honoured = [spelling for spelling, rate in rates.items() if rate == WANTED_RATE]
    if not honoured:
        raise NotObservedError(f"neither spelling had an effect: the results have {rates} Hz")
    evidence = f"asked for {WANTED_RATE} Hz, the results have " + ", ".join(
        f"{rate} ({spelling})" for spelling, rate in rates.items()
    )
    return Found("both" if len(honoured) == 2 else honoured[0], evidence)


def _result_name(facts: Facts, begin: str) -> str:
    """Return the name of the only result that begins so."""
    folder = f"{facts.place.prefix}out/"
    keys = [each.key for each in facts.hook.list_objects(folder + begin, **facts.where)]
    if len(keys) != 1:
        raise NotObservedError(f"there are {len(keys)} results instead of one")
    return keys[0].removeprefix(folder)


def _ended_jobs(facts: Facts) -> Iterator[tuple[str, Job]]:
    """Yield the format of the input and the description of jobs that have ended."""
    for name, extension in _INPUTS.items():
        job = facts.watch.jobs.get(name)
        if job is not None and job.description is not None and job.state.is_terminal:
            yield extension, job.description
    for airflow_job in facts.airflow_jobs.values():
        described = airflow_job.description
        if airflow_job.extension and described is not None and described.job_state.is_terminal:
            yield airflow_job.extension, described


def _sample_rate(facts: Facts, key: str) -> int | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.wav"
        facts.hook.download_file(key, path, **facts.where)
        return sample_rate(path)
