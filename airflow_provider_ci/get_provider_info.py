"""The provider's description, loaded by every Airflow process: it imports its version, and cannot raise."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci import __version__

#: The standard fields of the connection form that are hidden, renamed, or explained by an example.
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    # The port is not used. But Airflow 3.3's Test button sends 0 if none is stored, and fails because that
    # differs from the stored connection
    "hidden-fields": ["host", "schema"],
    "relabeling": {"login": "SecretId", "password": "SecretKey", "port": "Port (unused)"},
    "placeholders": {
        "login": "AKID…",
        "password": "from the console's API key page",
        "port": "443: only Airflow's Test button needs one",
    },
}

#: Where credentials may come from; the first is the default.
CREDENTIAL_SOURCES = ("static", "environment", "file", "instance_role", "assume_role", "web_identity")

#: The extra fields of the connection form. ``null`` in a type makes a field optional in Airflow's form.
CONN_FIELDS: dict[str, Any] = {
    "region": {
        "label": "Region",
        "description": "Region of the bucket, for instance ap-guangzhou",
        "schema": {"type": ["string", "null"], "pattern": "^[a-z0-9]+(-[a-z0-9]+)+$"},
    },
    "bucket": {
        "label": "Bucket",
        "description": "Default bucket with its APPID, for instance media-1250000001",
        "schema": {"type": ["string", "null"], "pattern": "^[a-z0-9][a-z0-9-]{0,60}-[0-9]{5,20}$"},
    },
    "credential_source": {
        "label": "Credential source",
        "description": (
            "Where the keys come from: static (SecretId and SecretKey above; the default), environment, file,"
            " instance_role, assume_role, web_identity"
        ),
        # without null in the enum, which the form would show as a choice
        "schema": {"type": ["string", "null"], "enum": [*CREDENTIAL_SOURCES]},
    },
    "security_token": {
        "label": "Security token",
        "description": "Session token, only with temporary keys (static, assume_role)",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "role_arn": {
        "label": "Role",
        "description": (
            "assume_role, web_identity: for instance qcs::cam::uin/100000000001:roleName/airflow"
            " (web_identity: empty for the one of the container)"
        ),
        "schema": {
            "type": ["string", "null"],
            "pattern": "^qcs::cam::uin/[0-9]+:(role|roleName)/\\S{1,256}$",
        },
    },
    "role_session_name": {
        "label": "Role session name",
        "description": "assume_role, web_identity: what the audit log shows, default airflow-provider-ci",
        "schema": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_+=,.@-]{2,128}$"},
    },
    "duration_seconds": {
        "label": "Role duration (s)",
        "description": "assume_role, web_identity: lifetime of the keys, default 7200, at most 43200",
        "schema": {"type": ["integer", "null"], "minimum": 60, "maximum": 43200},
    },
    "external_id": {
        "label": "External id",
        "description": "assume_role: only if the role's trust policy asks for one",
        "schema": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_+=,.@:/-]{2,128}$"},
    },
    "sts_endpoint_url": {
        "label": "STS endpoint URL",
        "description": "assume_role, web_identity: ask here instead of https://sts.tencentcloudapi.com",
        "schema": {"type": ["string", "null"]},
    },
    "credentials_file": {
        "label": "Credentials file",
        "description": "file: path where tasks run, default ~/.tencentcloud/credentials",
        "schema": {"type": ["string", "null"]},
    },
    "profile": {
        "label": "Profile",
        "description": "file: section of the credentials file, default default",
        "schema": {"type": ["string", "null"]},
    },
    "endpoint_url": {
        "label": "Endpoint URL",
        "description": "Connect here instead of to Tencent Cloud (emulator, gateway); empty for the service",
        "schema": {"type": ["string", "null"]},
    },
    "ci_host": {
        "label": "CI host",
        "description": (
            "Host name of CI without the bucket, default ci.{region}.myqcloud.com; the other one is"
            " ci.{region}.tencentci.cn"
        ),
        "schema": {"type": ["string", "null"]},
    },
    "cos_host": {
        "label": "COS host",
        "description": (
            "The same of COS, default cos.{region}.myqcloud.com; inside Tencent Cloud for instance"
            " cos-internal.{region}.tencentcos.cn"
        ),
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "Accept an http:// endpoint on another machine; requests can then be read on the way",
        "schema": {"type": ["boolean", "null"]},
    },
    "deployment": {
        "label": "Deployment",
        "description": (
            "Only for several Airflows that are to find each other's jobs again (blue/green): the same name"
            " in each"
        ),
        "schema": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_.-]{1,64}$"},
    },
    "connect_timeout": {
        "label": "Connect timeout (s)",
        "description": "Seconds to wait for a connection, default 5",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "read_timeout": {
        "label": "Read timeout (s)",
        "description": "Seconds to wait for a response, default 30",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "max_attempts": {
        "label": "Attempts for reads",
        "description": "How often a read is tried, default 6; a submission is never repeated blindly",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 10},
    },
    "callback_base_url": {
        "label": "Callback base URL",
        "description": (
            'callback_url="auto": address of Airflow\'s API server as CI reaches it, for instance'
            " https://airflow.example.com"
        ),
        "schema": {"type": ["string", "null"]},
    },
    "callback_secret": {
        "label": "Callback secret",
        "description": 'callback_url="auto": 32 to 128 random letters, digits, - or _',
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "callback_poll_interval": {
        "label": "Poll interval with callbacks (s)",
        "description": 'callback_url="auto": seconds between two polls of a deferred task, default 900',
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "callback_asset": {
        "label": "Callback asset",
        "description": "Name of the asset that gets an event for each job of which a callback comes",
        "schema": {"type": ["string", "null"]},
    },
}

#: The section of ``airflow.cfg``, and its option with the connections of which callbacks are accepted.
CONFIG_SECTION, CALLBACK_CONN_IDS = "tencent_ci", "callback_conn_ids"

_INTEGRATION = "Tencent Cloud Infinite"

_ASSETS = "airflow_provider_ci.assets.cos"


def get_provider_info() -> dict[str, Any]:
    """Return the description in the form of Airflow's ``provider_info.schema.json``."""
    uris = {
        "schemes": ["cos"],
        "handler": f"{_ASSETS}.sanitize_uri",
        "factory": f"{_ASSETS}.create_asset",
        "to_openlineage_converter": f"{_ASSETS}.convert_asset_to_openlineage",
    }
    return {
        # must equal the canonical distribution name, or Airflow refuses to start
        "package-name": "airflow-provider-ci",
        "name": "Tencent Cloud Infinite",
        "versions": [__version__],  # Airflow reads the metadata instead; Astronomer's registry requires it
        "description": (
            "Voice separation and other media jobs of"
            " `Tencent Cloud Infinite <https://cloud.tencent.com/product/ci>`__."
        ),
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://cloud.tencent.com/document/product/460",
                "tags": ["service"],
            }
        ],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_ci.hooks.ci"]}],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_ci.operators.job",
                    "airflow_provider_ci.operators.batch_job",
                    "airflow_provider_ci.operators.bulk_job",
                    "airflow_provider_ci.operators.template",
                    "airflow_provider_ci.operators.voice_separate",
                    "airflow_provider_ci.operators.voice_separate_batch",
                    "airflow_provider_ci.operators.voice_separate_bulk",
                    "airflow_provider_ci.operators.voice_separate_template",
                    "airflow_provider_ci.operators.speech_recognition",
                    "airflow_provider_ci.operators.noise_reduction",
                    "airflow_provider_ci.operators.text_to_speech",
                    "airflow_provider_ci.operators.transcode",
                    "airflow_provider_ci.operators.cancel",
                    "airflow_provider_ci.operators.cos",
                ],
            }
        ],
        "sensors": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_ci.sensors.job"]}
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "airflow_provider_ci.triggers.job",
                    "airflow_provider_ci.triggers.batch",
                    "airflow_provider_ci.triggers.bulk",
                    "airflow_provider_ci.triggers.jobs_ended",
                    "airflow_provider_ci.triggers.kafka",
                ],
            }
        ],
        "extra-links": [
            "airflow_provider_ci.links.console.TencentCIJobsLink",
            "airflow_provider_ci.links.console.TencentCIResultsLink",
        ],
        "asset-uris": [uris],
        "dataset-uris": [uris],  # Airflow 2.11
        "connection-types": [
            {
                "connection-type": "tencent_ci",
                "hook-class-name": "airflow_provider_ci.hooks.ci.TencentCIHook",
                "hook-name": "Tencent Cloud Infinite (CI)",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
        "config": {
            CONFIG_SECTION: {
                "description": "Tencent Cloud Infinite.",
                "options": {
                    CALLBACK_CONN_IDS: {
                        "description": (
                            "Connections of which the API server accepts callbacks, separated by commas."
                            " Empty: the endpoint does not exist. Needs Airflow 3.3 or newer."
                        ),
                        "version_added": None,
                        "type": "string",
                        "example": "tencent_ci_default",
                        "default": "",
                    }
                },
            }
        },
    }
