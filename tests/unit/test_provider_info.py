"""The provider's description: a fault in it would stop every Airflow process, not only this provider."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jsonschema
import pytest

from airflow_provider_ci.assets.cos import convert_asset_to_openlineage, create_asset, sanitize_uri
from airflow_provider_ci.get_provider_info import CONN_FIELDS, CREDENTIAL_SOURCES, get_provider_info
from airflow_provider_ci.hooks.callback_settings import CallbackSettings
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.connection import ConnectionSettings
from airflow_provider_ci.hooks.credentials_fields import _FILE, _ROLE
from tests.airflow_version import (
    CLI_SHOWS_NO_FORM,
    FORM_NEEDS_FAB,
    FORM_NEEDS_NO_HOOK,
    HAS_SHARED_STREAMS,
    IS_AIRFLOW_2,
)

INFO = get_provider_info()
(CONNECTION_TYPE,) = INFO["connection-types"]
(ASSETS,) = INFO["asset-uris"]

NEEDS_FORM_LIBRARIES = pytest.mark.skipif(
    CLI_SHOWS_NO_FORM and not find_spec("flask_appbuilder"),
    reason="Airflow 3.0 and 3.1 show it only with flask-appbuilder installed",
)


def python(*arguments: str) -> str:
    """Run a fresh interpreter and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment | {"COLUMNS": "500"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@cache
def printed_by_the_command_line() -> str:
    """Return what ``airflow providers`` prints, of one process, which takes seconds to start."""
    program = """
import sys
from airflow.__main__ import main
for command in ("list", "behaviours", "widgets"):
    print("COMMAND", command, flush=True)
    sys.argv = ["airflow", "providers", command, "--output", "json"]
    main()
"""
    return python("-c", program)


def loaded_by(code: str, *, after: str = "") -> set[str]:
    """Return the modules that a fresh interpreter loads for ``code``, after it has run other code."""
    lines = (after, "import sys; before = {*sys.modules}", code, "print('LOADED', *{*sys.modules} - before)")
    return set(python("-c", "\n".join(lines)).rpartition("LOADED")[2].split())


def tops(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


# whose arguments are checked as well
TASKS = """
from airflow_provider_ci.operators.voice_separate import VoiceSeparateOperator as One
from airflow_provider_ci.operators.voice_separate_batch import VoiceSeparateBatchOperator as Batch
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator as Bulk
from airflow_provider_ci.operators.voice_separate_template import VoiceSeparateTemplateOperator as Template
from airflow_provider_ci.operators.cancel import TencentCICancelJobOperator as Cancel
from airflow_provider_ci.operators.job import TencentCIJobOperator as Any
from airflow_provider_ci.operators.batch_job import TencentCIBatchJobOperator as AnyBatch
from airflow_provider_ci.operators.template import TencentCITemplateOperator as AnyTemplate
from airflow_provider_ci.operators.transcode import TranscodeOperator as Transcode
from airflow_provider_ci.operators.cos import TencentCOSUploadOperator as Upload
from airflow_provider_ci.sensors.job import TencentCIJobSensor as Sensor
kafka = {"region": "ap-guangzhou", "instance_id": "x", "topic": "y"}
One(task_id="a", input_object="in/{{ ds }}", voice_object="out/a", codec="mp3", bitrate=128,
    callback_type="Kafka", callback_kafka_config=kafka)
One.partial(task_id="b", voice_object="out/a", deferrable=True).expand(input_object=["in/a"])
Batch(task_id="c", prefix="in/", voice_object="out/${jobid}", time_interval={"start": "2025-01-01T00:00:00Z"})
Bulk(task_id="k", input_objects=["in/{{ ds }}", {"input_object": "in/a", "codec": "mp3"}],
     audio_mode="IsAudio", voice_object="out/${InputName}.${ext}")
Template(task_id="d", name="stems", audio_mode="IsAudio", codec="mp3")
Cancel(task_id="e", job_id="j1")
Upload(task_id="u", path="a.mp3", key="in/{{ ds }}")
Sensor(task_id="f", job_id=["j1"])
operation = {"Snapshot": {"Start": "{{ ds }}", "Count": 1}, "Output": {"Object": "out/${jobid}-${number}"}}
Any(task_id="g", tag="Snapshot", input_object="in/a", operation=operation)
AnyBatch(task_id="h", tag="Snapshot", prefix="in/", operation=operation)
AnyTemplate(task_id="i", tag="Snapshot", name="n", parameters={"Snapshot": {"Count": 1}})
Transcode(task_id="j", input_object="in/a", output_object="out/a", container_format="mp3", audio_bitrate=128)
"""
if HAS_SHARED_STREAMS:
    TASKS += """
from airflow_provider_ci.assets.ended_jobs import unread_ended_jobs
from airflow_provider_ci.triggers.jobs_ended import TencentCIJobsEndedTrigger as Ended
Ended(input_prefix="in/", states=["Success"])
"""


class TestTheDescription:
    def test_is_valid_for_airflow(self) -> None:
        schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text("utf-8"))
        jsonschema.validate(INFO, schema)

    def test_has_nothing_but_json(self) -> None:
        assert json.loads(json.dumps(INFO)) == INFO

    def test_is_registered_under_the_name_of_the_distribution(self) -> None:
        (entry,) = [
            point
            for point in entry_points(group="apache_airflow_provider")
            if point.load() is get_provider_info
        ]
        assert entry.dist is not None
        canonical = re.sub(r"[-_.]+", "-", entry.dist.metadata["Name"]).lower()
        assert INFO["package-name"] == canonical
        assert INFO["versions"] == [entry.dist.version]

    def test_is_not_shared(self) -> None:
        first = get_provider_info()
        first["name"] = "changed"
        assert get_provider_info() == INFO

    @pytest.mark.parametrize(
        "path",
        [
            CONNECTION_TYPE["hook-class-name"],
            *(ASSETS[kind] for kind in ("handler", "factory", "to_openlineage_converter")),
            *(
                module
                for kind in ("hooks", "operators", "sensors", "triggers")
                for entry in INFO.get(kind, ())
                for module in entry["python-modules"]
            ),
        ],
    )
    def test_every_path_can_be_imported(self, path: str) -> None:
        module, _, name = path.rpartition(".")
        if not hasattr(importlib.import_module(module), name):
            importlib.import_module(path)

    def test_integrations_are_those_that_are_described(self) -> None:
        described = {entry["integration-name"] for entry in INFO["integrations"]}
        used = {
            entry["integration-name"]
            for kind in ("hooks", "operators", "sensors", "triggers")
            for entry in INFO.get(kind, ())
        }
        assert used == described

    def test_airflow_2_finds_the_same_assets(self) -> None:
        assert INFO["dataset-uris"] == [ASSETS]

    def test_airflow_knows_the_assets(self) -> None:
        try:
            from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime as Manager
        except ImportError:  # before Airflow 3.2
            from airflow.providers_manager import ProvidersManager as Manager
        manager = Manager()
        kind = "asset" if hasattr(manager, "asset_uri_handlers") else "dataset"
        registered = (f"{kind}_uri_handlers", f"{kind}_factories", f"{kind}_to_openlineage_converters")
        assert [getattr(manager, name)["cos"] for name in registered] == [
            sanitize_uri,
            create_asset,
            convert_asset_to_openlineage,
        ]

    def test_the_hook_fits_the_registered_type(self) -> None:
        assert TencentCIHook.conn_type == CONNECTION_TYPE["connection-type"]
        assert TencentCIHook.hook_name == CONNECTION_TYPE["hook-name"]
        assert TencentCIHook.conn_name_attr == "tencent_ci_conn_id"
        assert TencentCIHook.default_conn_name == "tencent_ci_default"
        assert TencentCIHook(**{TencentCIHook.conn_name_attr: "x"}).tencent_ci_conn_id == "x"
        assert TencentCIHook().tencent_ci_conn_id == TencentCIHook.default_conn_name


class TestTheForm:
    @pytest.mark.parametrize("name", CONN_FIELDS)
    def test_a_field_is_a_json_schema_without_default(self, name: str) -> None:
        field = CONN_FIELDS[name]
        assert set(field) == {"label", "description", "schema"}
        jsonschema.Draft202012Validator.check_schema(field["schema"])
        assert field["label"]
        assert len(field["description"]) > 10
        assert "default" not in field["schema"]  # would be stored in every connection that is saved
        assert field["schema"]["type"][1:] == ["null"]  # optional, and in 2.11's order

    @pytest.mark.parametrize(
        ("name", "value", "is_valid"),
        [
            ("region", "ap-guangzhou", True),
            ("region", "guangzhou", False),
            ("bucket", "media-1250000001", True),
            ("bucket", "media", False),
            ("connect_timeout", 0.5, True),
            ("connect_timeout", 0, False),
            ("max_attempts", 10, True),
            ("max_attempts", 11, False),
            *(("credential_source", source, True) for source in CREDENTIAL_SOURCES),
            ("credential_source", "magic", False),
            ("role_arn", "qcs::cam::uin/1:roleName/airflow", True),
            ("role_arn", "airflow", False),
            ("role_session_name", "x", False),
            ("duration_seconds", 43200, True),
            ("duration_seconds", 43201, False),
            ("duration_seconds", 59, False),
            ("external_id", "a b", False),
            *((name, None, True) for name in CONN_FIELDS if name != "credential_source"),
        ],
    )
    def test_it_accepts_what_the_settings_accept(self, name: str, value: object, is_valid: bool) -> None:
        assert jsonschema.Draft202012Validator(CONN_FIELDS[name]["schema"]).is_valid(value) is is_valid

    def test_it_hides_the_secret(self) -> None:
        masked = {name for name, field in CONN_FIELDS.items() if field["schema"].get("format") == "password"}
        assert masked == {"security_token", "callback_secret"}

    def test_it_has_every_extra_field_that_is_read(self) -> None:
        made_of_others = {"conn_id", "credentials_provider", "secrets", "retry", "credentials", "clock"}
        read = {*ConnectionSettings.__dataclass_fields__} - made_of_others - {"callbacks"}
        read |= {f"callback_{name}" for name in CallbackSettings.__dataclass_fields__}
        of_sources = {"credential_source", "security_token", *_ROLE, "external_id", *_FILE}
        assert set(CONN_FIELDS) == read | of_sources | {"max_attempts"}

    @pytest.mark.skipif(
        IS_AIRFLOW_2, reason="its form is the web server's: see test_the_command_line_shows_it"
    )
    def test_airflow_builds_it(self) -> None:
        code = """
import json, sys
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(ours,) = [each for each in HookMetaService.hook_meta_data() if each.connection_type == "tencent_ci"]
loaded = [name for name in sys.modules if name.startswith("airflow_provider_ci")]
print("FORM", json.dumps([ours.model_dump(mode="json"), loaded]))
"""
        form, loaded = json.loads(python("-c", code).rpartition("FORM")[2])
        assert form["hook_name"] == "Tencent Cloud Infinite (CI)"
        if FORM_NEEDS_FAB and not find_spec("flask_appbuilder"):
            assert form["extra_fields"] is None, "as those of any other provider"
            return
        assert list(form["extra_fields"]) == list(CONN_FIELDS)
        assert form["extra_fields"]["security_token"]["schema"]["format"] == "password"
        assert form["standard_fields"]["login"]["title"] == "SecretId"
        assert form["standard_fields"]["password"]["title"] == "SecretKey"
        assert all(form["standard_fields"][name]["hidden"] for name in ("host", "url_schema"))
        if FORM_NEEDS_NO_HOOK:
            assert sorted(loaded) == ["airflow_provider_ci", "airflow_provider_ci.get_provider_info"]


@pytest.fixture
def form_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form libraries of Airflow 2.11, or stand-ins that only keep what they were given."""
    if find_spec("wtforms") and find_spec("flask_appbuilder"):
        return

    def stub(name: str, *classes: str) -> ModuleType:
        module = ModuleType(name)
        for each in classes:
            monkeypatch.setattr(module, each, type(each, (Stub,), {}), raising=False)
        monkeypatch.setitem(sys.modules, name, module)
        return module

    class Stub:
        def __init__(self, *args: str, **kwargs: Any) -> None:
            self.args, self.kwargs = args, kwargs

    stub("flask_appbuilder")
    stub("flask_appbuilder.fieldwidgets", "BS3PasswordFieldWidget", "BS3TextFieldWidget")
    stub("wtforms", "BooleanField", "IntegerField", "PasswordField", "StringField")
    stub("wtforms.validators", "Optional")


@pytest.mark.usefixtures("form_libraries")
class TestTheFormOfOlderAirflow:
    def test_has_the_same_fields(self) -> None:
        import wtforms

        kinds = {
            "string": wtforms.StringField,
            "number": wtforms.StringField,
            "integer": wtforms.IntegerField,
            "boolean": wtforms.BooleanField,
        }
        widgets = TencentCIHook.get_connection_form_widgets()
        assert list(widgets) == list(CONN_FIELDS)
        for name, widget in widgets.items():
            schema = CONN_FIELDS[name]["schema"]
            # what wtforms makes of a field outside a form, and the stand-in, remember their arguments
            made = SimpleNamespace(kind=getattr(widget, "field_class", type(widget)), **widget.kwargs)
            assert widget.args == (CONN_FIELDS[name]["label"],)
            assert made.description == CONN_FIELDS[name]["description"]
            is_secret = schema.get("format") == "password"
            assert made.kind is (wtforms.PasswordField if is_secret else kinds[schema["type"][0]])

    def test_has_the_same_behaviour(self) -> None:
        described = CONNECTION_TYPE["ui-field-behaviour"]
        assert TencentCIHook.get_ui_field_behaviour() == {
            "hidden_fields": described["hidden-fields"],
            "relabeling": described["relabeling"],
            "placeholders": described["placeholders"],
        }


class TestFreshInterpreters:
    def test_the_description_alone_loads_next_to_nothing(self) -> None:
        added = loaded_by("import airflow_provider_ci.get_provider_info", after="import __future__, typing")
        assert added == {"airflow_provider_ci", "airflow_provider_ci.get_provider_info"}

    def test_discovery_lists_the_provider_and_loads_no_hook(self) -> None:
        loaded = loaded_by(
            "from airflow.providers_manager import ProvidersManager\n"
            "providers = ProvidersManager().providers\n"
            "assert 'airflow-provider-ci' in providers, list(providers)"
        )
        assert "airflow_provider_ci.get_provider_info" in loaded
        assert not [name for name in loaded if name.startswith("airflow_provider_ci.hooks")]

    def test_parsing_a_dag_loads_neither_the_hook_nor_its_libraries(self) -> None:
        names = "AirflowFailException, BaseHook, BaseOperator, BaseSensorOperator, PokeReturnValue"
        # an asset of another scheme, for Airflow imports the handlers of all schemes
        # and any task, for Airflow 3.0 imports its models with the first
        airflow = f"from airflow.providers.common.compat.sdk import {names}, Asset; Asset('s3://b/a')"
        airflow += "; BaseOperator(task_id='x')"
        added = loaded_by("Asset('cos://media-1250000001/a')\n" + TASKS, after=airflow)
        assert not [name for name in added if name.startswith("airflow_provider_ci.hooks")]
        assert not tops(added) & {"lxml", "requests", "urllib3", "aiohttp", "av", "openlineage"}
        # making their classes takes longer than all else
        models = {f"airflow_provider_ci.protocol.{name}" for name in ("jobs", "batches", "templates")}
        assert not added & models

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            ("list", {"package_name": "airflow-provider-ci", "version": version("airflow-provider-ci")}),
            pytest.param("behaviours", {"field_behaviours": "tencent_ci"}, marks=NEEDS_FORM_LIBRARIES),
            pytest.param(
                "widgets",
                {"connection_parameter_name": "extra__tencent_ci__security_token"},
                marks=NEEDS_FORM_LIBRARIES,
            ),
        ],
    )
    def test_the_command_line_shows_it(self, command: str, expected: dict[str, str]) -> None:
        _, _, printed = printed_by_the_command_line().partition(f"COMMAND {command}\n")
        rows = json.loads(next(line for line in printed.splitlines() if line.startswith("[{")))
        assert any(expected.items() <= row.items() for row in rows), rows


def test_every_field_has_a_word_in_the_documentation_of_the_connection() -> None:
    page = (Path(__file__).parents[2] / "docs" / "connections.md").read_text("utf-8")
    assert [name for name in CONN_FIELDS if f"`{name}`" not in page] == []
