"""Which result file of a job is which: the service does not say, so the files' keys are matched with those of
the request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.protocol.job_types.job_type import STREAMS, JobType
from airflow_provider_ci.protocol.job_types.known_types import job_type
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.tree import Tree, find, find_text, find_tree

if TYPE_CHECKING:
    from airflow_provider_ci.protocol.results import ResultObject

_PLACEHOLDER = re.compile(r"\$\{(\w+)\}")
_SERIES = re.compile(r"\$\{[Nn]umber\}")
# The most steps for matching the files of one job with its outputs: enough for the 10,000 snapshots that are
# documented. A file takes a step for each part of a pattern and each character of its key
_STEPS_MAX = 10_000_000
# The characters in the unknown value of a placeholder; that of any other may have all
_CHARACTERS_OF_UNKNOWN = {"ext": str.isalnum, "Number": str.isdigit, "number": str.isdigit}
_KEY_MAX = 1024  # characters of a key that is matched; COS has none of more than 850 bytes (436/13324)


def match_outputs(job: Job) -> tuple[dict[str, ResultObject], list[ResultObject]]:
    """Return the files by output, and those that fit no output.

    The order of the files is not documented, so their keys are matched with those of the request.
    """
    kind, output = job_type(job.tag), find_tree(job.operation, "Output")
    known, patterns = _known_placeholders(job), _patterns(kind, output)
    parts = sum(len(_PLACEHOLDER.split(pattern)) for pattern in patterns.values())
    outputs: dict[str, ResultObject] = {}
    other: list[ResultObject] = []
    has_series = kind.placeholders is None or "Number" in kind.placeholders
    steps = 0
    for written in _files(job, output, patterns):
        key = written["object"]
        steps += parts * len(key)
        output_name = _matching_output(key, known, patterns, outputs) if steps <= _STEPS_MAX else None
        name = output_name
        if has_series and output_name in patterns and _SERIES.search(patterns[output_name]):
            name = f"{output_name}_{_number_in(key, patterns[output_name], known, outputs)}"
        if name is None or name in outputs:
            other.append(written)
        else:
            outputs[name] = written
    return outputs, other


def _patterns(kind: JobType, output: Tree) -> dict[str, str]:
    """Return the keys of the request, which may have placeholders, by the names of the results."""
    patterns: dict[str, str] = {}
    for name, element in kind.output_objects.items():
        value = output.get(element)
        if element != STREAMS:
            if value:
                patterns[name] = str(value)
            continue
        for stream in _list(output, element):
            # a documented response has the key in the stream's element Output
            if key := find_text(stream, "Object") or find_text(stream, "Output"):
                patterns[f"{name}_{find(stream, 'Index')}"] = key
    return patterns


def _files(job: Job, output: Tree, patterns: Mapping[str, str]) -> Iterator[ResultObject]:
    """Yield the files that a job has written.

    Where the service says so depends on the type: in ``MediaResult``, in ``ObjectName`` or ``Object`` of an
    element ``…Result``, or nowhere. In the last case the keys of the request count, if the type of job has no
    placeholders or is not known.
    """
    operation = job.operation or {}
    bucket, region = find_text(output, "Bucket"), find_text(output, "Region")
    found = False
    for files in _output_files(operation):
        md5s = {
            (find_text(each, "ObjectName") or "").removeprefix("/"): find_text(each, "Md5")
            for each in _list(files, "Md5Info")
        }
        prefix = find_text(files, "ObjectPrefix") or ""
        for name in _list(files, "ObjectName"):
            key = (str(name) if str(name).startswith(prefix) else prefix + str(name)).removeprefix("/")
            found = True
            yield {
                "bucket": find_text(files, "Bucket") or bucket,
                "region": find_text(files, "Region") or region,
                "object": key,
                "md5": md5s.get(str(name).removeprefix("/")) or md5s.get(key),
            }
    if found or not job.job_state.is_successful:
        return
    keys = [*_keys_in_results(operation)]
    if not keys and not job_type(job.tag).placeholders:
        keys = [pattern for pattern in patterns.values() if "${" not in pattern]
    for key in keys:
        yield {"bucket": bucket, "region": region, "object": key.removeprefix("/"), "md5": None}


def _output_files(operation: Tree) -> Iterator[Tree]:
    files = find_tree(operation, "MediaResult.OutputFile")
    yield files
    yield find_tree(files, "SpriteOutputFile")


def _list(tree: Tree, name: str) -> list[Any]:
    value = tree.get(name)
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _keys_in_results(operation: Tree) -> Iterator[str]:
    """Yield the keys in elements such as ``SpeechRecognitionResult``."""
    for name, result in operation.items():
        if name.endswith("Result") and isinstance(result, Mapping):
            for path in ("ObjectName", "Object", "DetailObjectName", "UploadResult.ProcessResults.Object"):
                if (key := find_text(result, path)) is not None:
                    yield key


def _known_placeholders(job: Job) -> dict[str, str]:
    """Return the placeholders with known values. Only jobs of a batch job have those of the input."""
    path, _, name = (job.input_object or "").rpartition("/")
    return {
        "jobid": job.job_id or "",
        "InputName": name.rpartition(".")[0] or name,
        "InputNameAndExt": name,
        "InputPath": path,
    }


def _matching_output(
    key: str, known: dict[str, str], patterns: Mapping[str, str], matched: Mapping[str, ResultObject]
) -> str | None:
    """Return the name of the output whose pattern fits ``key``, without those that are ``matched``."""
    # An equal key comes first: out/${jobid}.${ext} would fit out/a.mp3 too. Then the most specific pattern
    candidates = sorted(
        (item for item in patterns.items() if item[0] not in matched),
        key=lambda item: (item[1].removeprefix("/") != key, _count_unknown(item[1], known)),
    )
    for name, pattern in candidates:
        if pattern.removeprefix("/") == key or _fits(key, pattern, known):
            return name
    transcript = matched.get("transcript")
    return "detail" if transcript is not None and key == f"{transcript['object']}.detail" else None


def _number_in(key: str, pattern: str, known: Mapping[str, str], matched: Mapping[str, object]) -> str:
    """Return the number of a file in a series; its position if the key does not tell."""
    replaced = pattern.removeprefix("/").replace("${jobid}", known["jobid"])
    before, after = _SERIES.split(replaced, maxsplit=1)
    if "${" not in before + after:
        return key[len(before) : len(key) - len(after)]
    return str(len(matched))


def _count_unknown(pattern: str, known: dict[str, str]) -> tuple[int, int]:
    """Count the placeholders whose values are not known, and those for an extension."""
    names = _PLACEHOLDER.findall(pattern)
    return sum(name not in known and name != "ext" for name in names), names.count("ext")


def _fits(key: str, pattern: str, known: dict[str, str]) -> bool:
    """Tell whether ``pattern`` becomes ``key`` when its placeholders are replaced.

    Not by a regular expression: with several unknown placeholders it could take forever, and both strings
    come from outside.
    """
    if len(key) > _KEY_MAX or len(pattern) > _KEY_MAX:
        return False
    ends = {0}  # the indexes of the key at which the parts of the pattern up to here may end
    # split returns text and placeholder names by turns
    for index, part in enumerate(_PLACEHOLDER.split(pattern)):
        if index % 2 == 0:
            ends = _ends_after(key, ends, (part,))
        elif part == "jobid":
            ends = _ends_after(key, ends, (known[part],))
        elif part in known:
            # In a single job the placeholders of the input may stay as they are: it is not documented
            ends = _ends_after(key, ends, (known[part], f"${{{part}}}"))
        else:
            ends = _ends_after_unknown(key, ends, _CHARACTERS_OF_UNKNOWN.get(part))
    return len(key) in ends


def _ends_after(key: str, starts: set[int], texts: tuple[str, ...]) -> set[int]:
    """Return where one of ``texts`` ends in ``key`` if it begins at one of ``starts``."""
    return {start + len(text) for text in texts for start in starts if key.startswith(text, start)}


def _ends_after_unknown(key: str, starts: set[int], is_allowed: Callable[[str], bool] | None) -> set[int]:
    """Return where an unknown value of one or more characters may end if it begins at one of ``starts``."""
    ends: set[int] = set()
    for index, char in enumerate(key):
        can_begin_or_continue = index in starts or index in ends
        if can_begin_or_continue and (is_allowed is None or (char.isascii() and is_allowed(char))):
            ends.add(index + 1)
    return ends
