"""Which files a job or several have written, and where they are stored on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_ci.exceptions import RequestValidationError
from airflow_provider_ci.protocol.jobs import SUCCESS
from airflow_provider_ci.protocol.rules import check_list, join_values

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.results import JobResult, ResultObject

# Separators and reserved characters of any operating system
_NOT_IN_FILE_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f\ud800-\udfff\\/:*?"<>|]')
_NAME_BYTES_MAX = 150  # file systems allow 255, and a download in progress has a longer name
_SUFFIX_MAX = 16


def files_of(result: JobResult) -> dict[str, ResultObject]:
    """Return the files of a job by their names. Those that fit no output are ``other_0``, ``other_1``, …"""
    others = {f"other_{index}": file for index, file in enumerate(result["other_objects"])}
    return {**result["outputs"], **others}


def choose_files(result: JobResult, names: Sequence[str] | None) -> dict[str, ResultObject]:
    """Return those files of a job that have these names; ``None``: all.

    :raises RequestValidationError: the job has not ended with ``Success``, or has no such file.
    """
    if not isinstance(result, Mapping) or "outputs" not in result:
        raise RequestValidationError([f"job is {result!r}, allowed: a job id, or the XCom job of a task"])
    if result["state"] != SUCCESS:
        shown = f"job {result['job_id']} is in state {result['state']!r}"
        raise RequestValidationError([f"{shown}, allowed: {SUCCESS}, because no other job has results"])
    files = files_of(result)
    if names is None:
        return files
    check_list("names", names)
    unknown = [name for name in names if name not in files]
    if unknown:
        available = join_values(files) or "nothing, because it has written no file"
        shown = f"names has {unknown[0]!r}, allowed for job {result['job_id']}"
        raise RequestValidationError([f"{shown}: {available}"])
    return {name: files[name] for name in names}


def paths_of(files: Mapping[str, ResultObject], folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the path of each file, directly in the folder: all different, even if the file system does
    not distinguish upper and lower case.
    """
    paths: dict[str, Path] = {}
    taken: set[str] = set()
    for name, file in files.items():
        stem, suffix = _split(file["object"].rpartition("/")[2] or name)
        file_name = _limit(stem, suffix)
        number = 0
        while file_name.casefold() in taken:
            number += 1
            file_name = _limit(f"{_NOT_IN_FILE_NAMES.sub('_', name)}-{number}-{stem}", suffix)
        taken.add(file_name.casefold())
        paths[name] = Path(folder) / file_name
    return paths


def paths_below(keys: Iterable[str], prefix: str, folder: str | os.PathLike[str]) -> dict[str, Path]:
    """Return the path of each object of a list, in folders as its key says, from the last ``/`` of the prefix
    on. A key that ends with ``/`` is a folder's, and has none.

    :raises RequestValidationError: two objects would be the same file, or one the other's folder, on a file
        system that does not distinguish upper and lower case.
    """
    paths: dict[str, Path] = {}
    files: dict[Path, str] = {}
    folders: dict[Path, str] = {}
    for key in keys:
        if key.endswith("/"):
            continue
        parts = key[prefix.rfind("/") + 1 :].split("/")
        path = Path(*(_limit(*_split(part or "_")) for part in parts))
        same = Path(str(path).casefold())
        parents = [parent for parent in same.parents if parent != Path()]
        other = files.get(same) or folders.get(same) or next(filter(None, map(files.get, parents)), None)
        if other is not None:
            shown = f"prefix {prefix!r} has {other!r} and {key!r}"
            raise RequestValidationError(
                [f"{shown}, allowed: keys of which no two need the same file or folder"]
            )
        files[same] = key
        folders |= dict.fromkeys(parents, key)
        paths[key] = Path(folder) / path
    return paths


def _split(file_name: str) -> tuple[str, str]:
    stem, suffix = os.path.splitext(_NOT_IN_FILE_NAMES.sub("_", file_name))
    is_suffix = len(suffix) <= _SUFFIX_MAX
    stem, suffix = (stem, suffix) if is_suffix else (stem + suffix, "")
    # no hidden file, which could be taken for something else than a result; nor "." or ".."
    return (f"_{stem[1:]}" if stem.startswith(".") else stem), suffix


def _limit(stem: str, suffix: str) -> str:
    while len(stem.encode()) > _NAME_BYTES_MAX:
        stem = stem[:-1]
    return stem + suffix
