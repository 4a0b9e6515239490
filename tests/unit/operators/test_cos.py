"""Uploading and downloading one file, against a server that plays scripted answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_ci.exceptions import NotFoundError, PermissionDeniedError, RequestValidationError
from airflow_provider_ci.operators.cos import TencentCOSDownloadOperator, TencentCOSUploadOperator
from tests.conftest import Logs
from tests.scripted_server import ScriptedServer, error, http

Make = Callable[..., Any]
CONTENT = b"not really music"


@pytest.fixture
def make(server: ScriptedServer, connection: Callable[..., str], tmp_path: Path) -> Iterator[Make]:
    made: list[Any] = []

    def make(cls: type[Any], **arguments: Any) -> Any:
        connection(server.url, max_attempts=1)
        usual = {"path": str(tmp_path / "music" / "a.mp3"), "key": "in/a.mp3"}
        made.append(cls(task_id="copy", **(usual | arguments)))
        return made[-1]

    yield make
    for operator in made:
        operator.hook.close()


def test_an_upload_returns_the_key(make: Make, server: ScriptedServer, tmp_path: Path, logs: Logs) -> None:
    (tmp_path / "a.mp3").write_bytes(CONTENT)
    server.play(http())
    upload = make(TencentCOSUploadOperator, path=str(tmp_path / "a.mp3"))
    assert upload.execute({}) == "in/a.mp3"
    (sent,) = server.requests
    assert (sent.method, sent.path, sent.body) == ("PUT", "/in/a.mp3", CONTENT)
    assert sent.header("Content-Type") == "audio/mpeg"
    assert any(
        line.startswith(f"Uploaded {tmp_path}/a.mp3 as in/a.mp3: 16 bytes") for line in logs.at("info")
    )


def test_a_download_makes_the_folder_and_returns_the_path(
    make: Make, server: ScriptedServer, tmp_path: Path
) -> None:
    server.play(http(CONTENT))
    path = make(TencentCOSDownloadOperator, bucket="other-1250000001", region="ap-beijing").execute({})
    assert path == str(tmp_path / "music" / "a.mp3")
    assert Path(path).read_bytes() == CONTENT
    assert server.requests[0].header("Host") == "other-1250000001.cos.ap-beijing.myqcloud.com"


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [(error(404, "NoSuchKey"), NotFoundError), (error(403, "AccessDenied"), PermissionDeniedError)],
)
def test_what_the_service_refuses_may_be_retried(
    make: Make, server: ScriptedServer, tmp_path: Path, refusal: Any, kind: type[Exception]
) -> None:
    server.play(refusal)
    with pytest.raises(kind) as caught:
        make(TencentCOSDownloadOperator).execute({})
    assert not isinstance(caught.value, AirflowFailException)
    assert [*(tmp_path / "music").iterdir()] == []


def test_a_file_that_is_not_there_is_not_uploaded(make: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        make(TencentCOSUploadOperator, path=str(tmp_path / "none")).execute({})


@pytest.mark.parametrize("cls", [TencentCOSUploadOperator, TencentCOSDownloadOperator])
@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"path": ""}, "path is '', allowed: the path of a file"),
        ({"key": ""}, "key is .*, allowed: an object key"),
        ({"key": "/in/a.mp3"}, "key is '/in/a.mp3', allowed: an object key that neither begins"),
        ({"key": "in/"}, "key is 'in/', allowed: an object key that neither begins nor ends"),
        ({"key": "cos://media-1250000001/in/a.mp3"}, "here 'in/a.mp3', and the bucket, 'media-1250000001'"),
        ({"key": "in/.."}, "allowed: a key that does not end in /. or /.."),
        ({"key": "a" * 851}, "at most 850 bytes"),
        ({"bucket": "media"}, "bucket is 'media'"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_dag_is_parsed_and_when_it_was_rendered(
    make: Make, cls: type[Any], wrong: dict[str, str], problem: str
) -> None:
    with pytest.raises(RequestValidationError, match=problem):
        make(cls, **wrong)
    task = make(cls, **dict.fromkeys(wrong, "{{ x }}"))
    vars(task).update(wrong)
    with pytest.raises(RequestValidationError, match=problem) as caught:
        task.execute({})
    assert isinstance(caught.value, AirflowFailException)
