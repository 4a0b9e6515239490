"""The trigger for messages in Kafka, without a broker: arguments, what it shares, what it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from airflow_provider_ci.exceptions import ConfigurationError, RequestValidationError
from airflow_provider_ci.triggers import kafka, watcher_trigger
from airflow_provider_ci.triggers.kafka import TencentCIKafkaJobsEndedTrigger
from tests.airflow_version import HAS_SHARED_STREAMS

has_kafka = HAS_SHARED_STREAMS and find_spec("confluent_kafka") is not None
needs_kafka = pytest.mark.skipif(not has_kafka, reason="needs Airflow 3.3 and airflow-provider-ci[kafka]")


@needs_kafka
def test_a_trigger_is_rebuilt_from_what_it_serializes():
    arguments = {
        "topics": ["a", "b"],
        "kafka_config_id": "ckafka",
        "tag": "Transcode",
        "bucket": "media-1250000001",
        "input_prefix": "in/",
        "states": ["Failed", "Success"],
    }
    path, serialized = TencentCIKafkaJobsEndedTrigger(**arguments).serialize()
    assert path == "airflow_provider_ci.triggers.kafka.TencentCIKafkaJobsEndedTrigger"
    assert serialized == arguments
    assert TencentCIKafkaJobsEndedTrigger(**serialized).serialize() == (path, serialized)


@needs_kafka
def test_the_order_of_topics_and_states_makes_no_other_trigger():
    one = TencentCIKafkaJobsEndedTrigger(["a", "b"], states=["Success", "Failed"])
    other = TencentCIKafkaJobsEndedTrigger(["b", "a"], states=["Failed", "Success"])
    assert one.serialize() == other.serialize()
    assert one.shared_stream_key() == other.shared_stream_key()


@needs_kafka
@pytest.mark.parametrize(
    "other", [{"tag": "Transcode"}, {"bucket": "b-1"}, {"input_prefix": "in/"}, {"states": ["Failed"]}]
)
def test_another_filter_has_a_consumer_group_of_its_own(other):
    triggers = [TencentCIKafkaJobsEndedTrigger(["a"]), TencentCIKafkaJobsEndedTrigger(["a"], **other)]
    assert len({trigger._group_suffix for trigger in triggers}) == 2
    assert len({trigger.shared_stream_key() for trigger in triggers}) == 2


@needs_kafka
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"topics": "jobs"}, "topics is 'jobs', allowed: a list of names of topics"),
        ({"topics": []}, "topics is [], allowed: a list of names of topics"),
        ({"topics": [""]}, "topics is [''], allowed: a list of names of topics"),
        ({"topics": [1]}, "topics is [1], allowed: a list of names of topics"),
        ({"kafka_config_id": ""}, "kafka_config_id is '', allowed: a string that is not empty"),
        ({"tag": 1}, "tag is 1, allowed: a string"),
        ({"bucket": 1}, "bucket is 1, allowed: a string"),
        ({"input_prefix": "/in"}, "input_prefix is '/in'"),
        ({"states": ["Running"]}, "Running"),
    ],
)
def test_an_argument_that_cannot_work_is_named(arguments, message):
    with pytest.raises(RequestValidationError) as refused:
        TencentCIKafkaJobsEndedTrigger(**{"topics": ["jobs"], **arguments})
    assert message in str(refused.value)


@pytest.mark.skipif(not HAS_SHARED_STREAMS, reason="says first that Airflow is too old")
@pytest.mark.parametrize("found", [{"return_value": None}, {"side_effect": ModuleNotFoundError}])
def test_without_the_provider_for_kafka_the_extra_is_named(mocker, found):
    mocker.patch.object(kafka, "find_spec", **found)
    with pytest.raises(ConfigurationError, match=r"is not installed. Install airflow-provider-ci\[kafka\]"):
        TencentCIKafkaJobsEndedTrigger(["jobs"])


def test_on_older_airflow_it_says_which_is_needed(mocker):
    mocker.patch.object(watcher_trigger, "AIRFLOW_MINOR", (3, 2))
    with pytest.raises(ConfigurationError, match=r"needs Airflow 3.3 or newer"):
        TencentCIKafkaJobsEndedTrigger(["jobs"])


@needs_kafka
def test_it_is_for_no_task():
    with pytest.raises(ConfigurationError, match="is for an AssetWatcher, not for a task"):
        TencentCIKafkaJobsEndedTrigger(["jobs"]).run()


@needs_kafka
def test_a_dag_file_loads_neither_kafkas_library_nor_the_xml_library():
    code = (
        "import sys; from airflow_provider_ci.triggers.kafka import TencentCIKafkaJobsEndedTrigger as T; "
        "T(['jobs']).serialize(); print({'confluent_kafka', 'lxml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
