"""The requests of the jobs that the hook submits. Each has variants: the first tries something out, and the
last one is plain, so that a refusal of the first shows what was refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.job_types.voice_separation import VOICE_SEPARATE
from airflow_provider_ci.protocol.names import KEY_BYTES_MAX
from airflow_provider_ci.protocol.tree import Tree

if TYPE_CHECKING:
    from live.journal import Place

#: Hz that both jobs of noise reduction ask for; the service's default is another.
WANTED_RATE = 8000
#: The type of the job that the batch job makes.
BATCH_TAG = VOICE_SEPARATE
_AUDIO = {
    "mp3": {"Codec": "mp3", "Samplerate": 44100, "Bitrate": 64, "Channels": 1},
    "wav": {"Codec": "pcm_s16le", "Samplerate": 44100, "Channels": 1},
}


def placeholder(place: Place, user_data: str, url: str) -> dict[str, Tree]:
    """``${jobid}`` in a type other than voice separation, and an input that is a URL."""
    key = f"{place.prefix}out/placeholder-${{jobid}}.mp3"
    return {
        "url": _transcode(place, user_data, {"Url": url}, key, "mp3"),
        "plain": _transcode(place, user_data, _object(place, "wav"), key, "mp3"),
    }


def misspelt(place: Place, user_data: str) -> dict[str, Tree]:
    """A placeholder that no document has, in a job with an input that is not in all lists of formats."""
    source = _object(place, "ogg")
    return {
        "misspelt": _transcode(place, user_data, source, f"{place.prefix}out/misspelt-${{jobId}}.wav", "wav"),
        "plain": _transcode(place, user_data, source, f"{place.prefix}out/misspelt.wav", "wav"),
    }


def long_key(place: Place, user_data: str) -> dict[str, Tree]:
    """A key for the result that is one byte longer than an object's key may be."""
    begin = f"{place.prefix}out/long-"
    too_long = begin + "x" * (KEY_BYTES_MAX + 1 - len(begin) - len(".mp3")) + ".mp3"
    source = _object(place, "wav")
    return {
        "long": _transcode(place, user_data, source, too_long, "mp3"),
        "plain": _transcode(place, user_data, source, f"{begin}x.mp3", "mp3"),
    }


def cancelled(place: Place, user_data: str) -> dict[str, Tree]:
    """A callback to a topic of Kafka that does not exist, in a job that is cancelled at once."""
    plain = _transcode(place, user_data, _object(place, "wav"), f"{place.prefix}out/cancelled.mp3", "mp3")
    topic = {"Region": place.region, "InstanceId": "ckafka-livekit0", "Topic": "airflow-ci-live"}
    return {"kafka": {**plain, "CallBackType": "Kafka", "CallBackKafkaConfig": topic}, "plain": plain}


def same_key(place: Place, user_data: str) -> dict[str, Tree]:
    """A result with the key of an object that exists, and the spelling ``SampleRate``."""
    return {
        "same": _noise_reduction(place, user_data, occupied_key(place)),
        "plain": _noise_reduction(place, user_data, f"{place.prefix}out/not-occupied.wav"),
    }


def unbound(place: Place, user_data: str) -> dict[str, Tree]:
    """A job for a bucket of which no service is open."""
    key = f"{place.prefix}out/unbound.mp3"
    return {"unbound": _transcode(place, user_data, _object(place, "wav"), key, "mp3")}


def batch(place: Place, name: str) -> Tree:
    """A batch job over a prefix with one object, which makes one job."""
    output = {
        "Region": place.region,
        "Bucket": place.bucket,
        "AuObject": f"{place.prefix}out/batch-${{jobid}}.mp3",
    }
    parameters = {"AudioMode": "IsAudio", "AudioConfig": {"Codec": "mp3"}}
    return {
        "Name": name,
        "Type": "Job",
        "Input": {"Prefix": _batch_prefix(place)},
        "Operation": {
            "Tag": BATCH_TAG,
            "JobParam": {"VoiceSeparate": parameters},
            "Output": output,
            "UserData": name,
        },
    }


def batch_input_key(place: Place) -> str:
    """Return the key of the only input of the batch job."""
    return f"{_batch_prefix(place)}speech.mp3"


def input_key(place: Place, extension: str) -> str:
    """Return the key of the input in a format."""
    return f"{place.prefix}in/speech.{extension}"


def occupied_key(place: Place) -> str:
    """Return the key of the result where an object is already."""
    return f"{place.prefix}out/occupied.wav"


def _batch_prefix(place: Place) -> str:
    return f"{place.prefix}batch/"


def _object(place: Place, extension: str) -> dict[str, str]:
    return {"Object": input_key(place, extension)}


def _transcode(place: Place, user_data: str, source: dict[str, str], key: str, container: str) -> Tree:
    parameters = {"Container": {"Format": container}, "Audio": _AUDIO[container]}
    return _request(place, user_data, "Transcode", source, {"Transcode": parameters}, key)


def _noise_reduction(place: Place, user_data: str, key: str) -> Tree:
    parameters = {"NoiseReduction": {"Format": "wav", "SampleRate": WANTED_RATE}}
    return _request(place, user_data, "NoiseReduction", _object(place, "wav"), parameters, key)


def _request(
    place: Place, user_data: str, tag: str, source: dict[str, str], parameters: dict[str, Any], key: str
) -> Tree:
    output = {"Region": place.region, "Bucket": place.bucket, "Object": key}
    return {
        "Tag": tag,
        "Input": source,
        "Operation": {**parameters, "Output": output, "UserData": user_data},
    }
