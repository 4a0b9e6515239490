"""Templates: create (436/84510), update (460/84757), list (1045/49919), delete (1045/49918)."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_ci.emulator.calls import (
    Answer,
    Call,
    Handler,
    Page,
    add_missing,
    answer,
    check_name,
    comma_list,
    document,
    once,
    require,
    shown,
    strictly,
)
from airflow_provider_ci.emulator.clock import Clock
from airflow_provider_ci.emulator.config import EmulatorConfig
from airflow_provider_ci.emulator.database import Database
from airflow_provider_ci.emulator.errors import ServiceFault, invalid_argument
from airflow_provider_ci.protocol.admin_models import (
    Template,
    TemplateAnswer,
    TemplateDeletedAnswer,
    TemplateIds,
    TemplateRequest,
    TemplatesAnswer,
)
from airflow_provider_ci.protocol.models import (
    VOICE_SEPARATE,
    Input,
    Operation,
    Output,
    VoiceSeparate,
    VoiceSeparateRequest,
)
from airflow_provider_ci.protocol.validation import problems
from airflow_provider_ci.protocol.xml import parse_document, read, to_bytes, to_element

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
    """One row: times in Unix seconds."""

    id: str
    bucket: str
    name: str
    parameters: VoiceSeparate
    created: float
    updated: float

    def as_template(self) -> Template:
        """Return it as the service describes it."""
        return Template(
            tag=VOICE_SEPARATE,
            template_id=self.id,
            name=self.name,
            bucket_id=self.bucket,
            category=CUSTOM,
            voice_separate=self.parameters,
            create_time=shown(self.created),
            update_time=shown(self.updated),
        )


class NameTakenError(ValueError):
    """The bucket has another template of this name."""


class TemplateStore:
    """Templates by id; each belongs to one bucket. Safe to use from several threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        with database.transaction() as connection:
            connection.execute(_SCHEMA)

    def add(self, bucket: str, name: str, parameters: VoiceSeparate, now: float) -> StoredTemplate:
        """Store a new template.

        :raises NameTakenError: the name is in use.
        """
        template = StoredTemplate("t" + uuid.uuid4().hex, bucket, name, parameters, now, now)
        values = (template.id, bucket, name, _bytes(parameters), now, now)
        self._write(
            "INSERT INTO templates (id, bucket, name, parameters, created, updated)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            values,
        )
        return template

    def replace(
        self, bucket: str, template_id: str, name: str, parameters: VoiceSeparate, now: float
    ) -> bool:
        """Give a template another definition; tell whether there is one of this id.

        :raises NameTakenError: the name is in use.
        """
        return self._write(
            "UPDATE templates SET name = ?, parameters = ?, updated = ? WHERE id = ? AND bucket = ?",
            (name, _bytes(parameters), now, template_id, bucket),
        )

    def delete(self, bucket: str, template_id: str) -> bool:
        """Delete a template; tell whether there was one."""
        return self._write("DELETE FROM templates WHERE id = ? AND bucket = ?", (template_id, bucket))

    def get(self, bucket: str, template_id: str) -> StoredTemplate | None:
        """Return a template of a bucket, or ``None``."""
        row = self._database.row("SELECT * FROM templates WHERE id = ? AND bucket = ?", (template_id, bucket))
        return _template(row) if row else None

    def all(self, bucket: str) -> list[StoredTemplate]:
        """Return the templates of a bucket, the newest first."""
        rows = self._database.rows("SELECT * FROM templates WHERE bucket = ? ORDER BY number DESC", (bucket,))
        return [_template(row) for row in rows]

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
        return _answer(TemplateAnswer(request_id=call.request_id, template=template.as_template()))

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
        return _answer(TemplateAnswer(request_id=call.request_id, template=template.as_template()))

    def _delete(self, call: Call) -> Answer:
        if not self._store.delete(call.bucket, call.id):
            raise not_found(call.id)
        return answer(TemplateDeletedAnswer(request_id=call.request_id, template_id=call.id))

    def _list(self, call: Call) -> Answer:
        page, asked = Page.of(call.params), comma_list(call.params.get("ids"))
        category = call.params.get("category", CUSTOM)
        require("category", category, (CUSTOM, "Official"))
        # No official template is for voice separation (1045/43606)
        kept = self._store.all(call.bucket) if category == CUSTOM else []
        found = [one.as_template() for one in kept if _is_wanted(one, asked, call.params)]
        if not asked:
            return _answer(
                TemplatesAnswer(
                    request_id=call.request_id,
                    total_count=len(found),
                    page_number=page.number,
                    page_size=page.size,
                    template_list=page.cut(found),
                )
            )
        missing = tuple(one for one in asked if one not in {template.template_id for template in found})
        return _answer(
            TemplatesAnswer(
                request_id=call.request_id,
                template_list=tuple(found),
                non_exist_tids=TemplateIds(template_id=missing) if missing else None,
            )
        )


def _answer(document: TemplateAnswer | TemplatesAnswer) -> Answer:
    """Return the body, with the state that SDK models have (its value is guessed)."""
    root = to_element(document, "Response")
    for template in root.iter("Template", "TemplateList"):
        add_missing(template, State="Normal")
    return Answer(body=to_bytes(root))


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


def _definition(call: Call) -> tuple[str, VoiceSeparate]:
    """Return name and parameters of a template as given, every rule checked."""
    root = document(call)
    once(root, ("Tag", "Name", "AudioMode", "AudioConfig"))
    given = strictly(TemplateRequest, root)
    require("Tag", given.tag, (VOICE_SEPARATE,))
    name = check_name(given.name, NAME_MAX)
    if given.audio_mode is None:
        raise invalid_argument("AudioMode is missing")
    if root.find("AudioConfig") is None:  # an empty one is allowed
        raise invalid_argument("AudioConfig is missing")
    parameters = VoiceSeparate(audio_mode=given.audio_mode, audio_config=given.audio_config)
    broken = list(_broken_rules(parameters))
    if broken:
        raise invalid_argument("; ".join(broken))
    return name, parameters


def _broken_rules(parameters: VoiceSeparate) -> Iterator[str]:
    """The rules are a job's, so they are asked for a job with nothing else to be wrong."""
    output = Output(region="ap-guangzhou", bucket="any-1250000000", object="b", au_object="v")
    operation = Operation(voice_separate=parameters, output=output)
    for problem in problems(VoiceSeparateRequest(input=Input(object="i"), operation=operation)):
        yield str(problem).removeprefix("Operation.VoiceSeparate.")


def _bytes(parameters: VoiceSeparate) -> bytes:
    return to_bytes(to_element(parameters, "VoiceSeparate"))


def _template(row: sqlite3.Row) -> StoredTemplate:
    return StoredTemplate(
        id=row["id"],
        bucket=row["bucket"],
        name=row["name"],
        parameters=read(VoiceSeparate, parse_document(row["parameters"])),
        created=row["created"],
        updated=row["updated"],
    )
