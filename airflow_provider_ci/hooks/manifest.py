"""Manifests: objects of JSON Lines with the inputs of a bulk task, or with what became of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypedDict, cast

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.jobs import STATES
from airflow_provider_ci.protocol.names import redact_addresses
from airflow_provider_ci.protocol.rules import Problem, check_list, raise_if_any

if TYPE_CHECKING:
    from airflow_provider_ci.hooks.ci import TencentCIHook
    from airflow_provider_ci.hooks.objects import StoredFile
    from airflow_provider_ci.protocol.results import ResultObject

#: The end of a manifest's name, which decides its content type.
SUFFIX = ".jsonl"
_SHOWN_MAX = 100  # characters of a line that an error quotes
# Characters of a line. It is held in memory, and an object without line feeds may be no manifest at all
_LINE_MAX = 1024 * 1024


class ManifestLine(TypedDict):
    """One item of a bulk task, and what became of it.

    ``item`` is the item as the task got it: a key, or a dict of arguments. ``state`` is ``None`` if the
    service has not accepted a job for it; ``code`` and ``message`` are the service's reason then, as they are
    for a job in state ``Failed``. ``outputs`` has the files by name, as XCom ``job`` of a single job. Times
    are ISO 8601 with zone.
    """

    item: str | dict[str, Any]
    input_object: str | None
    job_id: str | None
    state: str | None
    outputs: dict[str, ResultObject]
    creation_time: str | None
    start_time: str | None
    end_time: str | None
    code: str | None
    message: str | None


def read_manifest(
    hook: TencentCIHook,
    key: str,
    states: Collection[str | None] = (),
    *,
    md5: str | None = None,
    bucket: str | None = None,
    region: str | None = None,
) -> Iterator[ManifestLine]:
    """Yield the lines of a result manifest: see :meth:`.TencentCIHook.read_manifest`."""
    for number, text in _read_lines(hook, key, bucket, region, md5):
        line = _parse_json(text, key, number)
        if not isinstance(line, dict) or not ManifestLine.__required_keys__ <= line.keys():
            raise _line_error(key, number, text, f"an object with {', '.join(ManifestLine.__annotations__)}")
        if not states or line["state"] in states:
            yield cast("ManifestLine", line)


def read_states(states: Iterable[str | None]) -> tuple[str | None, ...]:
    """Return the states by which the lines of a manifest are chosen.

    :raises RequestValidationError: they are no list, or one is no state of a job.
    """
    check_list("states", states)
    chosen = tuple(states)
    raise_if_any(
        Problem("states", state, f"{', '.join(STATES)}, None")
        for state in chosen
        if state is not None and state not in STATES
    )
    return chosen


def read_input_manifest(
    hook: TencentCIHook, key: str, *, bucket: str | None = None, region: str | None = None
) -> Iterator[str | dict[str, Any]]:
    """Yield the items in an object of JSON Lines, in their order. Empty lines are skipped.

    A line is a JSON object, a JSON string, or else a key as plain text. A key that begins with ``{`` or ``"``
    has to be a JSON string.

    :raises RequestValidationError: a line cannot be read.
    :raises NotFoundError: there is no such object.
    """
    for number, text in _read_lines(hook, key, bucket, region):
        item = _parse_json(text, key, number) if text.startswith(("{", '"')) else text
        if not isinstance(item, str | dict):
            raise _line_error(key, number, text, "a key or a JSON object")
        yield item


def write_manifest(
    hook: TencentCIHook,
    lines: Iterable[ManifestLine],
    key: str,
    *,
    bucket: str | None = None,
    region: str | None = None,
) -> StoredFile:
    """Upload a manifest: see :meth:`.TencentCIHook.write_manifest`."""
    with _temporary_file() as path:
        with path.open("w", encoding="utf-8", newline="\n") as file:
            for line in lines:
                file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        return hook.upload_file(path, key, bucket=bucket, region=region)


def _read_lines(
    hook: TencentCIHook, key: str, bucket: str | None, region: str | None, md5: str | None = None
) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not empty."""
    # the complete object first: a connection must not stay open for as long as the lines are worked on
    with _temporary_file() as path:
        hook.download_file(key, path, md5=md5, bucket=bucket, region=region)
        with path.open("r", encoding="utf-8-sig", newline="\n") as file:
            lines = iter(partial(file.readline, _LINE_MAX + 1), "")
            try:
                for number, line in enumerate(lines, 1):
                    if len(line) > _LINE_MAX:
                        raise _line_error(key, number, line, f"at most {_LINE_MAX} characters")
                    if text := line.strip():
                        yield number, text
            except UnicodeDecodeError as error:
                raise RequestValidationError(
                    f"Manifest {key!r} is not UTF-8: {error.reason}", hint="Write it as UTF-8"
                ) from None


@contextmanager
def _temporary_file() -> Iterator[Path]:
    with TemporaryDirectory(prefix="tencent-ci-") as folder:
        yield Path(folder) / f"manifest{SUFFIX}"


def _parse_json(text: str, key: str, number: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # RecursionError: hundreds of levels
        raise _line_error(key, number, text, "JSON") from None


def _line_error(key: str, number: int, text: str, allowed: str) -> RequestValidationError:
    shown = redact_addresses(text)  # before it is cut off, perhaps in a password
    shown = shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}…"
    return RequestValidationError(str(Problem(f"line {number} of manifest {key!r}", shown, allowed)))
