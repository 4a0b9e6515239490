"""Templates of voice separation: create (436/84510), update (460/84757), list (1045/49919), delete
(1045/49918).
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
from tencent_ci_emulator.http.ci_call import Call, Content, Handler, require, require_name
from tencent_ci_emulator.http.problems import Problems
from tencent_ci_emulator.http.service_errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.xml import build, parse, service_time, text_of, to_bytes
from tencent_ci_emulator.jobs.voice_separation import VOICE_SEPARATE, check_parameters

_NAME_CHARACTERS = 64
_CUSTOM = "Custom"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS templates (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, bucket TEXT NOT NULL, name TEXT NOT
    NULL, parameters BLOB NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, UNIQUE (bucket, name)
)
"""


@dataclass(frozen=True, slots=True)
class Template:
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
            "Category": _CUSTOM,
            "State": "Normal",
            VOICE_SEPARATE: parse(self.parameters),
            "CreateTime": service_time(self.created),
            "UpdateTime": service_time(self.updated),
        }


class Templates:
    """The templates of all buckets; each belongs to one. Safe to use from several threads."""

    def __init__(self, config: EmulatorConfig, database: Database, clock: Clock) -> None:
        self._config = config
        self._database = database
        self._clock = clock
        database.create(_SCHEMA)

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
        template = self._database.first(Template, "templates", {"id": template_id, "bucket": bucket})
        if template is None:  # the status is guessed
            raise ServiceError(400, "TemplateNotFound", f"template {template_id} does not exist")
        return template

    def has(self, bucket: str, template_ids: list[str]) -> bool:
        """Return whether a bucket has one of these templates."""
        return self._database.count("templates", {"bucket": bucket, "id": tuple(template_ids)}) > 0

    def _create(self, call: Call) -> Content:
        definition, most = _read_definition(call), self._config.max_templates
        if self._database.count("templates", {"bucket": call.bucket}) >= most:
            raise ServiceError(400, "CreatedTemplateNumLimit", f"a bucket has at most {most} templates")
        template_id, now = "t" + uuid.uuid4().hex, self._clock.now()
        row = {"id": template_id, "bucket": call.bucket, **definition, "created": now, "updated": now}
        with _unique_names(definition["name"]):
            self._database.insert("templates", row)
        return {"Template": self.get(call.bucket, template_id).describe()}

    def _update(self, call: Call) -> Content:
        self.get(call.bucket, call.id)
        definition = _read_definition(call)
        changes = {**definition, "updated": self._clock.now()}
        with _unique_names(definition["name"]):
            self._database.update("templates", changes, {"id": call.id, "bucket": call.bucket})
        return {"Template": self.get(call.bucket, call.id).describe()}

    def _delete(self, call: Call) -> Content:
        self.get(call.bucket, call.id)
        self._database.delete("templates", {"id": call.id, "bucket": call.bucket})
        return {"TemplateId": call.id}

    def _list(self, call: Call) -> Content:
        page, ids = call.page(), call.listed("ids")
        tags, prefix = call.listed("tag") or ["All"], call.params.get("name", "")
        category = call.choice("category", _CUSTOM, (_CUSTOM, "Official"))
        # No official template is for voice separation (1045/43606)
        is_wanted = category == _CUSTOM and ("All" in tags or VOICE_SEPARATE in tags)
        where = {"bucket": call.bucket, "id": tuple(ids) if ids else None}
        kept = self._database.select(Template, "templates", where, order="number DESC") if is_wanted else []
        found = [template for template in kept if template.name.startswith(prefix)]
        if not ids:
            listed = [template.describe() for template in page.cut(found)]
            return {**page.describe(len(found)), "TemplateList": listed}
        missing = [one for one in ids if one not in {template.id for template in found}]
        return {
            "TemplateList": [template.describe() for template in found],
            "NonExistTIDs": {"TemplateId": missing} if missing else None,
        }


@contextmanager
def _unique_names(name: str) -> Iterator[None]:
    """Refuse a name that another template of the bucket has."""
    try:
        yield
    except sqlite3.IntegrityError:
        message = f"the bucket has another template named {name}"
        raise ServiceError(400, "TemplateNameDuplicate", message) from None


def _read_definition(call: Call) -> dict[str, Any]:
    """Return name and parameters of a template as given, every rule checked.

    ``AudioMode`` and ``AudioConfig`` are children of the request itself, and both are needed.
    """
    root, problems = call.document(), Problems()
    problems.check_single(root, ("Tag", "Name", "AudioMode", "AudioConfig"))
    problems.refuse_if_any()
    require("Tag", text_of(root, "Tag"), (VOICE_SEPARATE,))
    name = require_name(text_of(root, "Name"), _NAME_CHARACTERS)
    mode, config = root.find("AudioMode"), root.find("AudioConfig")
    if text_of(root, "AudioMode") is None:
        raise invalid_argument("AudioMode is missing")
    if config is None:  # an empty one is allowed
        raise invalid_argument("AudioConfig is missing")
    separate = build(VOICE_SEPARATE, {"AudioMode": mode, "AudioConfig": config})
    check_parameters(separate, problems)
    problems.refuse_if_any()
    return {"name": name, "parameters": to_bytes(separate)}
