"""Lists of objects and manifests, on the emulator."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_ci.exceptions import NotFoundError, RequestValidationError
from airflow_provider_ci.hooks import manifest
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.manifest import ManifestLine, read_input_manifest
from airflow_provider_ci.protocol.names import is_object_key
from tencent_ci_emulator.server import Emulator


@pytest.fixture
def hook(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[TencentCIHook]:
    monkeypatch.setenv("AIRFLOW_CONN_TENCENT_CI_DEFAULT", json.dumps(emulator.connection))
    hook = TencentCIHook()
    yield hook
    hook.close()


@pytest.fixture(autouse=True)
def temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put temporary files into a folder of this test's own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def put(hook: TencentCIHook, tmp_path: Path, key: str, content: bytes = b"x") -> None:
    path = tmp_path / "upload"
    path.write_bytes(content)
    hook.upload_file(path, key)


def line(item: Any, state: str | None, **changes: Any) -> ManifestLine:
    common: dict[str, Any] = dict.fromkeys(ManifestLine.__annotations__)
    return {**common, "item": item, "state": state, "outputs": {}, **changes}  # type: ignore[typeddict-item]


def test_objects_are_listed_page_by_page(
    hook: TencentCIHook, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_ci.protocol.objects.OBJECTS_PER_PAGE", 2)
    keys = ["in/a b+c%.mp3", "in/声音.mp3", "in/&<>\"'.mp3", "in/\x01.mp3", "in/", "other/a.mp3"]
    for key in keys:
        if "\x01" not in key:  # no client of the provider uploads it
            put(hook, tmp_path, key, b"12345")
    listed = list(hook.list_objects("in/"))
    assert [each.key for each in listed] == sorted(set(keys) - {"in/\x01.mp3", "other/a.mp3"})
    assert {each.size for each in listed} == {5}
    assert len(list(hook.list_objects())) == len(keys) - 1
    assert list(hook.list_objects("none/")) == []


@given(
    st.sets(
        st.text(st.sampled_from("a b/+%&<é声😀\uffee"), min_size=1, max_size=4).filter(is_object_key),
        max_size=8,
    )
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_object_is_listed_once_in_the_order_of_utf_8(
    hook: TencentCIHook, tmp_path: Path, keys: set[str]
) -> None:
    folder = f"listed-{uuid4().hex}/"
    for key in keys:
        put(hook, tmp_path, folder + key)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("airflow_provider_ci.protocol.objects.OBJECTS_PER_PAGE", 2)
        listed = [each.key.removeprefix(folder) for each in hook.list_objects(folder)]
    assert listed == sorted(keys, key=str.encode)


def test_a_manifest_is_written_and_read(hook: TencentCIHook, temporary_files: Path, tmp_path: Path) -> None:
    written = [
        line("in/a.mp3", "Success", job_id="j1", outputs={"voice": {"object": "声.mp3"}}),
        line({"input_object": "in/b.mp3", "job_level": 1}, "Failed", message="a\nb"),
        line("in/c.mp3", None),
    ]
    stored = hook.write_manifest(iter(written), "airflow/m.jsonl")
    assert list(hook.read_manifest("airflow/m.jsonl")) == written
    assert list(hook.read_manifest("airflow/m.jsonl", states=["Failed", None])) == written[1:]
    assert list(hook.read_manifest("airflow/m.jsonl", states=iter(["Failed"]))) == written[1:2]
    hook.download_file("airflow/m.jsonl", tmp_path / "m", md5=stored.md5)
    assert (tmp_path / "m").read_bytes().count(b"\n") == 3
    assert list(temporary_files.glob("tencent-ci-*")) == []


def test_an_empty_manifest(hook: TencentCIHook) -> None:
    hook.write_manifest([], "m.jsonl")
    assert list(hook.read_manifest("m.jsonl")) == []


def test_a_manifest_that_is_not_read_to_its_end_leaves_no_file(
    hook: TencentCIHook, temporary_files: Path
) -> None:
    hook.write_manifest([line("a", None), line("b", None)], "m.jsonl")
    lines = hook.read_manifest("m.jsonl")
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    assert list(temporary_files.glob("tencent-ci-*")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'"in/a.mp3"\n', r"line 1 of manifest 'm' is '\"in/a.mp3\"', allowed: an object with item, "),
        (b'\n{"item": "a"}\n', r"line 2 of manifest 'm' is "),
        (b"in/a.mp3\n", "line 1 of manifest 'm' is 'in/a.mp3', allowed: JSON"),
        (b"\xff\n", "Manifest 'm' is not UTF-8"),
    ],
)
def test_an_object_that_is_no_result_manifest(
    hook: TencentCIHook, tmp_path: Path, content: bytes, message: str
) -> None:
    put(hook, tmp_path, "m", content)
    with pytest.raises(RequestValidationError, match=message):
        list(hook.read_manifest("m"))


def test_a_line_has_a_limit(hook: TencentCIHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_LINE_MAX", 10)
    put(hook, tmp_path, "m", b"123456789\n" * 2 + b"1234567890\n1")
    with pytest.raises(
        RequestValidationError,
        match=r"line 3 of manifest 'm' is '1234567890.*', allowed: at most 10 characters",
    ):
        list(read_input_manifest(hook, "m"))


def test_an_address_in_a_line_is_shown_without_its_secrets(hook: TencentCIHook, tmp_path: Path) -> None:
    address = f"https://user:{'secret' * 50}@example.com/a?sign=secret"
    put(hook, tmp_path, "m", f'{{"input_url": "{address}" x}}'.encode())
    with pytest.raises(RequestValidationError, match=r"https://example\.com/a") as caught:
        list(read_input_manifest(hook, "m"))
    assert "secret" not in str(caught.value)


def test_states_that_are_none(hook: TencentCIHook) -> None:
    with pytest.raises(RequestValidationError, match=r"states is 'failed', allowed: Submitted, .*, None"):
        hook.read_manifest("m", states=["failed"])
    with pytest.raises(RequestValidationError, match="states is the string 'Failed', allowed: a list"):
        hook.read_manifest("m", states="Failed")


def test_a_manifest_that_does_not_exist(hook: TencentCIHook) -> None:
    with pytest.raises(NotFoundError):
        list(hook.read_manifest("m"))


def test_the_lines_of_an_input_manifest(hook: TencentCIHook, tmp_path: Path) -> None:
    lines = [
        "\ufeffin/a b.mp3\r",
        "",
        '"in/{b}.mp3"',
        "  ",
        '{"input_object": "in/c.mp3", "job_level": 2}',
        "[x].mp3",
        "in/é.mp3",
    ]
    put(hook, tmp_path, "m", "\n".join(lines).encode())
    assert list(read_input_manifest(hook, "m")) == [
        "in/a b.mp3",
        "in/{b}.mp3",
        {"input_object": "in/c.mp3", "job_level": 2},
        "[x].mp3",
        "in/é.mp3",
    ]


@pytest.mark.parametrize("text", ['{"input_object": }', '"in/a.mp3', '{"a": 1} x', '{"a":' + "[" * 100_000])
def test_a_line_of_an_input_manifest_that_cannot_be_read(
    hook: TencentCIHook, tmp_path: Path, text: str
) -> None:
    put(hook, tmp_path, "m", f"in/a.mp3\n{text}\n".encode())
    with pytest.raises(RequestValidationError, match=r"line 2 of manifest 'm' is .*, allowed: JSON"):
        list(read_input_manifest(hook, "m"))
