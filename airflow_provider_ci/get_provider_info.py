"""The provider's description, loaded by every Airflow process: it imports nothing and cannot raise."""

from __future__ import annotations

from typing import Any

#: The standard fields of the connection form: which are hidden, renamed, or explained by an example.
UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["host", "port", "schema"],
    "relabeling": {"login": "SecretId", "password": "SecretKey"},
    "placeholders": {"login": "AKID…", "password": "from the console's API key page"},
}

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
    "security_token": {
        "label": "Security token",
        "description": "Session token, only with temporary keys",
        "schema": {"type": ["string", "null"], "format": "password"},
    },
    "endpoint_url": {
        "label": "Endpoint URL",
        "description": "Connect here instead of to Tencent Cloud (emulator, gateway); empty for the service",
        "schema": {"type": ["string", "null"]},
    },
    "allow_http": {
        "label": "Allow plain HTTP",
        "description": "Accept an http:// endpoint on another machine; requests can then be read on the way",
        "schema": {"type": ["boolean", "null"]},
    },
    "connect_timeout": {
        "label": "Connect timeout (s)",
        "description": "Seconds to wait for a connection, default 5",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "read_timeout": {
        "label": "Read timeout (s)",
        "description": "Seconds to wait for an answer, default 30",
        "schema": {"type": ["number", "null"], "exclusiveMinimum": 0},
    },
    "max_attempts": {
        "label": "Attempts for reads",
        "description": "How often a read is tried, default 6; a submission is never repeated blindly",
        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 10},
    },
}

_INTEGRATION = "Tencent Cloud Infinite"


def get_provider_info() -> dict[str, Any]:
    """Return the description in the form of Airflow's ``provider_info.schema.json``."""
    return {
        # must equal the canonical distribution name, or Airflow refuses to start
        "package-name": "airflow-provider-ci",
        "name": "Tencent Cloud Infinite",
        "description": "Voice-separation jobs of `Tencent Cloud Infinite <https://cloud.tencent.com/product/ci>`__.",
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
                    "airflow_provider_ci.operators.voice_separate",
                    "airflow_provider_ci.operators.voice_separate_batch",
                    "airflow_provider_ci.operators.template",
                    "airflow_provider_ci.operators.cancel",
                ],
            }
        ],
        "sensors": [
            {"integration-name": _INTEGRATION, "python-modules": ["airflow_provider_ci.sensors.job"]}
        ],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": ["airflow_provider_ci.triggers.job", "airflow_provider_ci.triggers.batch"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "tencent_ci",
                "hook-class-name": "airflow_provider_ci.hooks.ci.CIHook",
                "hook-name": "Tencent Cloud Infinite (CI)",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
                "conn-fields": CONN_FIELDS,
            }
        ],
    }
