"""The connection's form for Airflow before 3.2, which asks the hook for it."""

from __future__ import annotations

from typing import Any

from airflow_provider_ci.get_provider_info import CONN_FIELDS, UI_FIELD_BEHAVIOUR


def ui_field_behaviour() -> dict[str, Any]:
    """Return which standard fields the form hides, renames or explains."""
    return {name.replace("-", "_"): value for name, value in UI_FIELD_BEHAVIOUR.items()}


def connection_form_widgets() -> dict[str, Any]:
    """Return the form's extra fields, made from the same description as for newer versions of Airflow."""
    from flask_appbuilder.fieldwidgets import BS3PasswordFieldWidget, BS3TextFieldWidget
    from wtforms import BooleanField, IntegerField, PasswordField, StringField
    from wtforms.validators import Optional

    # Airflow 3.0 and 3.1 lose a FloatField; a number in a text field is read as well
    fields = {"string": StringField, "number": StringField, "integer": IntegerField}
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
