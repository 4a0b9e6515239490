"""What every request passes on its way: the ledger notes it, the fault plan decides what happens to it."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from tencent_ci_emulator.faults.effects import Effects
from tencent_ci_emulator.faults.fault_plan import FaultPlan, Subject
from tencent_ci_emulator.http.service_request import Incoming, Service
from tencent_ci_emulator.http.xml import Element, XMLError, parse
from tencent_ci_emulator.ledger import Entry, Ledger


class Watch:
    """The fault plan and the ledger of one emulator; ``now`` is its clock."""

    def __init__(self, faults: FaultPlan, ledger: Ledger, now: Callable[[], float]) -> None:
        self.faults = faults
        self._ledger = ledger
        self._now = now

    def received(self, request: Incoming, request_id: str) -> Entry:
        """Note a request that has come."""
        return self._ledger.received(request, request_id, self._now())

    def effects(self, request: Incoming, body: bytes | None, entry: Entry) -> Effects:
        """Return what happens to the call, and note the rules that decide it."""
        record = entry.record
        effects = self.faults.on_call(Subject(record.operation, record.ids, _key(request, body)))
        if effects.rules:
            entry.note(faults=effects.rules)
        return effects

    def acted(self, response: web.StreamResponse, entry: Entry) -> None:
        """Note the ids that a submission was given."""
        if entry.record.operation != "submit" or not isinstance(response, web.Response):
            return
        root = _document(response.body if isinstance(response.body, bytes) else None)
        if root is not None:
            entry.note(ids=tuple(one.text or "" for one in root.iterfind("JobsDetail/JobId")))


def _key(request: Incoming, body: bytes | None) -> str | None:
    """The object key that a call is about: its own, or the input of the job that it submits or seeks."""
    if request.service is Service.COS:
        return request.path.removeprefix("/") or request.given_params.get("prefix")
    root = _document(body) if request.method == "POST" else None
    if root is not None:
        return root.findtext("Input/Object") or root.findtext("Input/Prefix")
    return request.given_params.get("inputobject")


def _document(body: bytes | None) -> Element | None:
    try:
        return parse(body) if body else None
    except XMLError:
        return None
