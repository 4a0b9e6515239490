"""Templates: create (436/84510), update (460/84757), list (1045/49919), delete (1045/49918)."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database, from_row
from tencent_ci_emulator.http.ci_call import (
    Answer,
    Call,
    Handler,
    Page,
    answer,
    check_name,
    comma_list,
    document,
    require,
)
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceFault, invalid_argument
from tencent_ci_emulator.http.xml import Element, build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE, check_parameters

NAME_MAX = 64
CUSTOM = "Custom"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS templates (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, name TEXT NOT
    NULL, parameters BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, UNIQUE (bucket, name)
)
"""


@dataclass(frozen=True, slots=True)
class StoredTemplate:
    """One row: times in Unix seconds, ``parameters`` the document ``VoiceSeparate``."""

    id: str
    bucket: str
    name: str
    parameters: bytes
    created: float
    updated: float

    def describe(self) -> dict[str, Any]:
        """Return the template as the service describes it. The value of ``State``, of SDKs, is guessed."""
        return {
            "Tag": VOICE_SEPARATE,
            "TemplateId": self.id,
            "Name": self.name,
            "BucketId": self.bucket,
            "Category": CUSTOM,
            "State": "Normal",
            VOICE_SEPARATE: parse(self.parameters),
            "CreateTime": service_time(self.created),
            "UpdateTime": service_time(self.updated),
        }


class NameTakenError(ValueError):
    """The bucket has another template of this name."""


class TemplateStore:
    """Templates by id; each belongs to one bucket. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def add(self, bucket: str, name: str, parameters: bytes, now: float) -> StoredTemplate:
        """Store a new template.

        :raises NameTakenError: the name is in use.
        """
        template = StoredTemplate("t" + uuid.uuid4().hex, bucket, name, parameters, now, now)
        values = (template.id, bucket, name, parameters, now, now)
        self._write(
            "INSERT INTO templates (id, bucket, name, parameters, created, updated)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        return template

    def replace(self, bucket: str, template_id: str, name: str, parameters: bytes, now: float) -> bool:
        """Give a template another definition; tell whether there is one of this id.

        :raises NameTakenError: the name is in use.
        """
        return self._write(
            "UPDATE templates SET name = ?, parameters = ?, updated = ? WHERE id = ? AND bucket = ?",
            (name, parameters, now, template_id, bucket),
        )

    def delete(self, bucket: str, template_id: str) -> bool:
        """Delete a template; tell whether there was one."""
        return self._write("DELETE FROM templates WHERE id = ? AND bucket = ?", (template_id, bucket))

    def get(self, bucket: str, template_id: str) -> StoredTemplate | None:
        """Return a template of a bucket, or ``None``."""
        row = self._database.row("SELECT * FROM templates WHERE id = ? AND bucket = ?", (template_id, bucket))
        return from_row(StoredTemplate, row) if row else None

    def all(self, bucket: str) -> list[StoredTemplate]:
        """Return the templates of a bucket, the newest first."""
        rows = self._database.rows("SELECT * FROM templates WHERE bucket = ? ORDER BY number DESC", (bucket,))
        return [from_row(StoredTemplate, row) for row in rows]

    def _write(self, statement: str, values: tuple[Any, ...]) -> bool:
        try:
            with self._database.transaction() as connection:
                return connection.execute(statement, values).rowcount == 1
        except sqlite3.IntegrityError:
            raise NameTakenError from None


class TemplateCalls:
    """Answers the calls about templates."""

    def __init__(self, config: EmulatorConfig, store: TemplateStore, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    def routes(self) -> dict[str, Handler]:
        """Return the handler of each call."""
        return {
            "POST /template": self._create,
            "PUT /template/": self._update,
            "GET /template": self._list,
            "DELETE /template/": self._delete,
        }

    def _create(self, call: Call) -> Answer:
        name, parameters = _definition(call)
        if len(self._store.all(call.bucket)) >= self._config.max_templates:
            raise ServiceFault(
                400, "CreatedTemplateNumLimit", f"a bucket has at most {self._config.max_templates} templates"
            )
        try:
            template = self._store.add(call.bucket, name, parameters, self._clock.now())
        except NameTakenError:
            raise _name_taken(name) from None
        return answer({"RequestId": call.request_id, "Template": template.describe()})

    def _update(self, call: Call) -> Answer:
        if self._store.get(call.bucket, call.id) is None:
            raise not_found(call.id)
        name, parameters = _definition(call)
        try:
            self._store.replace(call.bucket, call.id, name, parameters, self._clock.now())
        except NameTakenError:
            raise _name_taken(name) from None
        template = self._store.get(call.bucket, call.id)
        if template is None:
            raise not_found(call.id)
        return answer({"RequestId": call.request_id, "Template": template.describe()})

    def _delete(self, call: Call) -> Answer:
        if not self._store.delete(call.bucket, call.id):
            raise not_found(call.id)
        return answer({"RequestId": call.request_id, "TemplateId": call.id})

    def _list(self, call: Call) -> Answer:
        page, asked = Page.of(call.params), comma_list(call.params.get("ids"))
        category = call.params.get("category", CUSTOM)
        require("category", category, (CUSTOM, "Official"))
        # No official template is for voice separation (1045/43606)
        kept = self._store.all(call.bucket) if category == CUSTOM else []
        found = [one for one in kept if _is_wanted(one, asked, call.params)]
        if asked:
            known = {template.id for template in found}
            missing = [one for one in asked if one not in known]
            return answer(
                {
                    "RequestId": call.request_id,
                    "TemplateList": [template.describe() for template in found],
                    "NonExistTIDs": {"TemplateId": missing} if missing else None,
                }
            )
        return answer(
            {
                "RequestId": call.request_id,
                **page.describe(len(found)),
                "TemplateList": [template.describe() for template in page.cut(found)],
            }
        )


def not_found(template_id: str) -> ServiceFault:
    """Return the fault for an id that the bucket has no template of (status guessed)."""
    return ServiceFault(400, "TemplateNotFound", f"template {template_id} does not exist")


def _name_taken(name: str) -> ServiceFault:
    return ServiceFault(400, "TemplateNameDuplicate", f"the bucket has another template named {name}")


def _is_wanted(template: StoredTemplate, asked: list[str], params: Mapping[str, str]) -> bool:
    tags = comma_list(params.get("tag", "All"))
    return (
        ("All" in tags or VOICE_SEPARATE in tags)
        and (not asked or template.id in asked)
        and template.name.startswith(params.get("name", ""))
    )


def _definition(call: Call) -> tuple[str, bytes]:
    """Return name and parameters of a template as given, every rule checked.

    ``AudioMode`` and ``AudioConfig`` are children of the request itself, and both are needed.
    """
    root, problems = document(call), Problems()
    problems.check_single(root, ("Tag", "Name", "AudioMode", "AudioConfig"))
    problems.refuse_if_any()
    require("Tag", text_of(root, "Tag"), (VOICE_SEPARATE,))
    name = check_name(text_of(root, "Name"), NAME_MAX)
    if text_of(root, "AudioMode") is None:
        raise invalid_argument("AudioMode is missing")
    if root.find("AudioConfig") is None:  # an empty one is allowed
        raise invalid_argument("AudioConfig is missing")
    separate = _separate_element(root)
    check_parameters(separate, problems)
    problems.refuse_if_any()
    return name, to_bytes(separate)


def _separate_element(root: Element) -> Element:
    return build(VOICE_SEPARATE, {name: root.find(name) for name in ("AudioMode", "AudioConfig")})
