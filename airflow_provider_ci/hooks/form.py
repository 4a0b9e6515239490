"""The connection's form for Airflow before 3.2, which does not read it from the provider's description."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR


class ConnectionForm:
    """The methods that older Airflow asks of a hook."""

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the form's standard fields for Airflow before 3.2, which does not read them from provider
        info.
        """
        return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's extra fields for Airflow before 3.2, made from the same description."""
        from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
        from wtforms import BooleanField, FloatField, IntegerField, PasswordField, StringField
        from wtforms.validators import Optional

        fields = {"string": StringField, "number": FloatField, "integer": IntegerField}
        widgets = {}
        for name, field in CONN_FIELDS.items():
            kind, label, text = field["schema"]["type"][0], field["label"], field["description"]
            if kind == "boolean":
                widgets[name] = BooleanField(label, description=text)
            elif field["schema"].get("format") == "password":
                widgets[name] = PasswordField(label, widget=BS3PasswordFieldWidget(), description=text)
            else:
                widgets[name] = fields[kind](
                    label, widget=BS3TextFieldWidget(), description=text, validators=[Optional()]
                )
        return widgets
