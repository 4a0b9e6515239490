"""Downloading the files of a job."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_ci.exceptions import InvalidResponseError, JobNotFoundError, RequestValidationError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.hooks.result_files import paths_of
from airflow_provider_ci.protocol.jobs import Job
from airflow_provider_ci.protocol.results import job_result
from tests.scripted_server import ScriptedServer, http, jobs

ELEMENTS = {"voice": "AuObject", "background": "Object", "bass": "BassObject", "drums": "DrumObject"}


def md5(content: str) -> str:
    return hashlib.md5(content.encode()).hexdigest()


def result(state: str = "Success", *, md5s: bool = True, other: tuple[str, ...] = (), **keys: str) -> Any:
    """Return the result of a voice separation; the content of each file is its key."""
    written = [*keys.values(), *other]
    files = {
        "Bucket": "out-1250000003",
        "Region": "ap-beijing",
        "ObjectName": written,
        "Md5Info": [{"ObjectName": key, "Md5": md5(key)} for key in written if md5s],
    }
    operation = {
        "Output": {ELEMENTS[name]: key for name, key in keys.items()},
        "MediaResult": {"OutputFile": files},
    }
    return job_result(Job(job_id="j1", tag="VoiceSeparate", state=state, operation=operation))


def play(server: ScriptedServer) -> None:
    server.always("GET", lambda sent: http(sent.path.removeprefix("/")))


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_all_files_of_a_result_are_downloaded(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    play(server)
    folder = tmp_path / "new" / "folder"
    job = result(voice="out/j1/voice.mp3", background="out/j1/background.mp3", other=("else/where.txt",))
    stored = hook.download_results(job, folder)
    assert content(folder) == {
        "voice.mp3": "out/j1/voice.mp3",
        "background.mp3": "out/j1/background.mp3",
        "where.txt": "else/where.txt",
    }
    assert {name: Path(file.path).name for name, file in stored.items()} == {
        "voice": "voice.mp3",
        "background": "background.mp3",
        "other_0": "where.txt",
    }
    assert stored["voice"].md5 == md5("out/j1/voice.mp3")
    hosts = {sent.header("Host") for sent in server.requests}
    assert hosts == {"out-1250000003.cos.ap-beijing.myqcloud.com"}


def test_only_the_named_files_are_downloaded(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    play(server)
    job = result(voice="a/x.mp3", background="b/x.mp3")
    assert [*hook.download_results(job, tmp_path, names=["background"])] == ["background"]
    assert [sent.path for sent in server.requests] == ["/b/x.mp3"]
    alone = content(tmp_path)
    hook.download_results(job, tmp_path)
    assert alone.items() <= content(tmp_path).items(), "a file has the same name, whichever others there are"


def test_a_job_id_is_looked_up_in_the_inputs_bucket(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    found = (
        "<JobsDetail><JobId>n1</JobId><Tag>NoiseReduction</Tag><State>Success</State>"
        "<Operation><Output><Object>out/a.mp3</Object></Output></Operation></JobsDetail>"
    )
    server.play(jobs(found), http("quiet"))
    stored = hook.download_results("n1", tmp_path, bucket="in-1250000002", region="ap-beijing")
    assert content(tmp_path) == {"a.mp3": "quiet"}
    assert stored["file"].size == 5
    assert [sent.header("Host") for sent in server.requests] == [
        "in-1250000002.ci.ap-beijing.myqcloud.com",
        "in-1250000002.cos.ap-beijing.myqcloud.com",
    ]


def test_files_that_an_xcom_leaves_out_are_downloaded_too(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    files = "<ObjectName>out/a.mp3</ObjectName><ObjectName>out/b.mp3</ObjectName>"
    found = (
        "<JobsDetail><JobId>j1</JobId><Tag>VoiceSeparate</Tag><State>Success</State><Operation>"
        "<Output><Object>out/a.mp3</Object><AuObject>out/b.mp3</AuObject></Output>"
        f"<MediaResult><OutputFile>{files}</OutputFile></MediaResult></Operation></JobsDetail>"
    )
    server.play(jobs(found), http("a"), http("b"))
    shortened = {**result(background="out/a.mp3"), "omitted_files": 1}
    assert {*hook.download_results(shortened, tmp_path)} == {"background", "voice"}
    assert server.requests[0].path == "/jobs/j1"


def test_a_job_that_is_not_found_is_an_error(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    server.play(jobs(unknown=("j9",)))
    with pytest.raises(JobNotFoundError, match="does not find job j9"):
        hook.download_results("j9", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("state", ["Running", "Failed"])
def test_a_job_without_success_has_no_results(hook: TencentCIHook, tmp_path: Path, state: str) -> None:
    with pytest.raises(RequestValidationError, match=f"job j1 is in state '{state}', allowed: Success"):
        hook.download_results(result(state, voice="a"), tmp_path)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["vocals"], "names has 'vocals', allowed for job j1: voice, other_0"),
        ("voice", "names is the string 'voice', allowed: a list"),
    ],
)
def test_other_names_are_refused(hook: TencentCIHook, tmp_path: Path, names: Any, says: str) -> None:
    with pytest.raises(RequestValidationError, match=says):
        hook.download_results(result(voice="a", other=("b",)), tmp_path, names=names)


@pytest.mark.parametrize("job", [None, {}, ["j1"]])
def test_what_is_no_job_is_refused(hook: TencentCIHook, tmp_path: Path, job: Any) -> None:
    with pytest.raises(RequestValidationError, match="allowed: a job id, or the XCom job of a task"):
        hook.download_results(job, tmp_path)


def test_a_job_without_files_has_none(hook: TencentCIHook, tmp_path: Path) -> None:
    nothing = job_result(Job(job_id="j1", tag="SoundHound", state="Success", operation={}))
    assert hook.download_results(nothing, tmp_path) == {}


def test_content_with_another_md5_is_an_error(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, pauses: list[float]
) -> None:
    server.always("GET", http("something else"))
    with pytest.raises(InvalidResponseError, match="has MD5"):
        hook.download_results(result(voice="a.mp3"), tmp_path)
    assert content(tmp_path) == {}
    hook.download_results(result(voice="a.mp3", md5s=False), tmp_path)
    assert content(tmp_path) == {"a.mp3": "something else"}


class TestPaths:
    def names(self, *keys: str) -> list[str]:
        files: Any = {f"n{index}": {"object": key} for index, key in enumerate(keys)}
        paths = paths_of(files, "/folder")
        assert {path.parent for path in paths.values()} == {Path("/folder")}
        assert all(len(path.name.encode()) < 200 for path in paths.values())
        folded = [path.name.casefold() for path in paths.values()]
        assert len({*folded}) == len(keys)
        return [path.name for path in paths.values()]

    @pytest.mark.parametrize(
        ("key", "name"),
        [
            ("out/a.mp3", "a.mp3"),
            ("人声/分离.mp3", "分离.mp3"),
            ("a b&c", "a b&c"),
            ("out/", "n0"),
            ("..", "_."),
            ("a/../..", "_."),
            (".", "_"),
            (".bashrc", "_bashrc"),
            ("a\\..\\b", "a_.._b"),
            ("C:x\x00y", "C_x_y"),
            ("x" * 300 + ".mp3", "x" * 150 + ".mp3"),
            ("a." + "y" * 300, "a." + "y" * 148),
            ("人" * 200 + ".mp3", "人" * 50 + ".mp3"),
        ],
    )
    def test_a_file_is_never_outside_of_the_folder(self, key: str, name: str) -> None:
        assert self.names(key) == [name]

    def test_files_never_overwrite_each_other(self) -> None:
        assert self.names("a/x.mp3", "b/x.mp3", "c/X.mp3", "d/n1-1-x.mp3") == [
            "x.mp3",
            "n1-1-x.mp3",
            "n2-1-X.mp3",
            "n3-1-n1-1-x.mp3",
        ]
        long = "x" * 300
        self.names(f"a/{long}1.mp3", f"b/{long}2.mp3", f"c/{long}3.mp3")


def play_folder(server: ScriptedServer, *keys: str) -> None:
    """Play a list with these keys, and objects whose content is their key."""
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    server.play(http(f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"))
    server.play(*(http(key) for key in keys if not key.endswith("/")))


def test_all_objects_under_a_prefix_are_downloaded_into_a_folder(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    play_folder(server, "out/b1/", "out/b1/list.m3u8", "out/b1/1/a.ts", "out/b1/2/a.ts", "out/b1//../x.ts")
    stored = hook.download_folder("out/b1/", tmp_path / "new")
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"new/list.m3u8", "new/1/a.ts", "new/2/a.ts", "new/_/_./x.ts"}
    assert Path(stored["out/b1/2/a.ts"].path).read_text() == "out/b1/2/a.ts"
    assert server.requests[0].params == {"prefix": "out/b1/", "encoding-type": "url", "max-keys": "1000"}


def test_what_follows_the_last_slash_of_a_prefix_is_part_of_the_names(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    play_folder(server, "out/day-1.mp3", "out/day-2/x.mp3")
    hook.download_folder("out/day-", tmp_path)
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"day-1.mp3", "day-2/x.mp3"}


def test_an_empty_prefix_downloads_nothing(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
) -> None:
    play_folder(server)
    assert hook.download_folder("out/", tmp_path) == {}


@pytest.mark.parametrize(
    "keys",
    [("out/a.mp3", "out/A.MP3"), ("out/a", "out/A/b"), ("out/a/b", "out/a"), ("out/a:", "out/a_")],
)
def test_objects_that_need_the_same_file_are_refused(
    hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, keys: tuple[str, str]
) -> None:
    contents = "".join(f"<Contents><Key>{key}</Key></Contents>" for key in keys)
    server.play(http(f"<ListBucketResult>{contents}</ListBucketResult>"))
    with pytest.raises(RequestValidationError, match=f"prefix 'out/' has '{keys[0]}' and '{keys[1]}'"):
        hook.download_folder("out/", tmp_path)
    assert [*tmp_path.iterdir()] == []
