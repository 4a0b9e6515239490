"""Templates: create (for instance 436/84510), update (460/84757), list (1045/49919), delete (1045/49918).

Templates of every documented tag are served: their parameters stand in the request itself (``Transcode``,
``Tts``, …) or in an element of it (``Snapshot``, ``Concat``, …), and are described in ``TransTpl``,
``TtsTpl`` and so on.

Not documented, and so decided here. A job's parameters are those that the template has when the job is
submitted; they are not shown in the response, and the outputs must fit their mode. An unknown template is
400 ``TemplateNotFound``, also as ``TranscodeTemplateId`` and ``WatermarkTemplateId``; one for jobs of
another tag 400 ``InvalidArgument``. Names are unique within the bucket (400 ``TemplateNameDuplicate``);
Chinese is U+3400 to U+9FFF. ``HighSpeedHd`` is described in ``TransTpl``, and only what jobs check is
checked. ``State`` is ``Normal``. An update replaces all. A list is newest first, with a ``pageSize`` of at
most 100 and a ``tag`` that may be a comma list. Too many are 400 ``CreatedTemplateNumLimit``. There are no
official templates.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.http.ci_call import Call, Content, Handler
from tencent_ci_emulator.http.errors import ServiceError
from tencent_ci_emulator.http.rules import Problems, one_of, require_single_elements
from tencent_ci_emulator.http.xml import build, parse, remove, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.job_rules import PARAMETER_CHECKS
from tencent_ci_emulator.jobs.job_types import TEMPLATE_TYPES, TemplateType
from tencent_ci_emulator.objects.names import name_rule

_CUSTOM = "Custom"
_RULES = {"Tag": one_of(*TEMPLATE_TYPES, is_required=True), "Name": name_rule(64, "*")}
_SCHEMA = """
CREATE TABLE IF NOT EXISTS templates (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, name TEXT NOT
    NULL, parameters BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, UNIQUE (bucket, name)
)
"""


@dataclass(frozen=True, slots=True)
class Template:
    """One row: times in Unix seconds.

    :param parameters: a document of the template's tag, with the parameters as children.
    """

    id: str
    bucket: str
    name: str
    parameters: bytes
    created: float
    updated: float

    @property
    def tag(self) -> str:
        """The template's tag."""
        return str(parse(self.parameters).tag)

    @property
    def type(self) -> TemplateType:
        """The properties of the tag."""
        return TEMPLATE_TYPES[self.tag]

    def describe(self) -> dict[str, Any]:
        """Return the template as the service describes it. The value of ``State``, of SDKs, is guessed."""
        return {
            "Tag": self.tag,
            "TemplateId": self.id,
            "Name": self.name,
            "BucketId": self.bucket,
            "Category": _CUSTOM,
            "State": "Normal",
            self.type.described_as: parse(self.parameters),
            "CreateTime": service_time(self.created),
            "UpdateTime": service_time(self.updated),
        }


@dataclass(frozen=True, slots=True)
class Templates:
    """The templates of all buckets; each belongs to one. Safe to use from several threads."""

    config: EmulatorConfig
    database: Database
    clock: Clock

    def __post_init__(self) -> None:
        """Create the table."""
        self.database.create(_SCHEMA)

    def handlers(self) -> dict[str, Handler]:
        """Return the handler of each call by the operation's name."""
        return {
            "create_template": self._create,
            "update_template": self._update,
            "list_templates": self._list,
            "delete_template": self._delete,
        }

    def get(self, bucket: str, template_id: str) -> Template:
        """Return a template of a bucket.

        :raises ServiceError: there is none of this id.
        """
        template = self.database.first(Template, "templates", {"id": template_id, "bucket": bucket})
        if template is None:
            refusal = self.config.observed.template_not_found
            raise ServiceError(refusal.status, refusal.code, f"template {template_id} does not exist")
        return template

    def _create(self, call: Call) -> Content:
        definition, most = _read_definition(call), self.config.max_templates
        if self.database.count("templates", {"bucket": call.bucket}) >= most:
            raise ServiceError(400, "CreatedTemplateNumLimit", f"a bucket has at most {most} templates")
        template_id, now = "t" + uuid.uuid4().hex, self.clock.now()
        row = {"id": template_id, "bucket": call.bucket, **definition, "created": now, "updated": now}
        with _refuse_duplicate(definition["name"]):
            self.database.insert("templates", row)
        return {"Template": self.get(call.bucket, template_id).describe()}

    def _update(self, call: Call) -> Content:
        self.get(call.bucket, call.id)
        definition = _read_definition(call)
        with _refuse_duplicate(definition["name"]):
            changes = {**definition, "updated": self.clock.now()}
            self.database.update("templates", changes, {"id": call.id, "bucket": call.bucket})
        return {"Template": self.get(call.bucket, call.id).describe()}

    def _delete(self, call: Call) -> Content:
        self.get(call.bucket, call.id)
        self.database.delete("templates", {"id": call.id, "bucket": call.bucket})
        return {"TemplateId": call.id}

    def _list(self, call: Call) -> Content:
        page, ids = call.page(), call.listed("ids")
        tags, prefix = call.listed("tag") or ["All"], call.params.get("name", "")
        templates: list[Template] = []
        # There are no official ones here; none is for voice separation (1045/43606)
        if call.choice("category", _CUSTOM, (_CUSTOM, "Official")) == _CUSTOM:
            where = {"bucket": call.bucket, "id": tuple(ids) if ids else None}
            templates = self.database.select(Template, "templates", where, order="number DESC")
        templates = [
            template
            for template in templates
            if template.name.startswith(prefix) and {"All", template.tag} & set(tags)
        ]
        if not ids:
            described = [template.describe() for template in page.cut(templates)]
            return {**page.describe(len(templates)), "TemplateList": described}
        missing = [one for one in ids if one not in {template.id for template in templates}]
        return {
            "TemplateList": [template.describe() for template in templates],
            "NonExistTIDs": {"TemplateId": missing} if missing else None,
        }


@contextmanager
def _refuse_duplicate(name: str) -> Iterator[None]:
    """Refuse a name that another template of the bucket has."""
    try:
        yield
    except sqlite3.IntegrityError:
        message = f"the bucket has another template named {name}"
        raise ServiceError(400, "TemplateNameDuplicate", message) from None


def _read_definition(call: Call) -> dict[str, Any]:
    """Return name and parameters of a template, with every rule checked."""
    root, problems = call.document(), Problems()
    require_single_elements(root, "Tag", "Name")
    problems.check(root, _RULES)
    problems.raise_if_any()
    tag = text_of(root, "Tag") or ""
    kind = TEMPLATE_TYPES[tag]
    require_single_elements(root, *kind.needs)
    for name in kind.needs:
        needed = root.find(name)
        # Elements that hold others may be empty
        if needed is None or (name == "AudioMode" and text_of(root, name) is None):
            problems.add_sentence(f"{name} is missing")
    source = root if kind.is_flat else root.find(kind.element)
    parameters = build(tag, "" if source is None else source)
    if kind.is_flat:
        remove(parameters, "Tag", "Name")
    if kind.element in PARAMETER_CHECKS:
        PARAMETER_CHECKS[kind.element](parameters, problems, "" if kind.is_flat else f"{kind.element}.")
    problems.raise_if_any()
    return {"name": text_of(root, "Name"), "parameters": to_bytes(parameters)}
