"""Downloading and uploading objects."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_ci.exceptions import (
    InvalidResponseError,
    NotFoundError,
    RequestValidationError,
    ServerError,
    TencentCIError,
    TransportError,
)
from airflow_provider_ci.hooks.ci import TencentCIHook
from tests.conftest import BUCKET, CREDENTIALS, REGION
from tests.scripted_server import (
    REQUEST_ID,
    Answer,
    Exchange,
    ScriptedServer,
    error,
    hang_up,
    head,
    http,
    raw,
    reset_after_reading,
)

COS_HOST = f"{BUCKET}.cos.{REGION}.myqcloud.com"
CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()
STRANGE_KEYS = ["in/中 文+&=?#%25~.mp3", "a//b", "a/../b", "./a", "a/./b.", "ü;:@!$'()*,[]{}|^`\"<>\\"]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


MEDIA_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "m4a": "audio/mp4",
    "amr": "audio/amr",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "avi": "video/x-msvideo",
}


class TestDownload:
    @pytest.mark.parametrize("md5", [None, MD5, MD5.upper()])
    def test_a_download_writes_the_complete_object(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, md5: str | None
    ) -> None:
        server.play(http(CONTENT))
        stored = hook.download_file("out/voice.mp3", tmp_path / "voice.mp3", md5=md5)
        assert (stored.path, stored.size, stored.md5) == (str(tmp_path / "voice.mp3"), len(CONTENT), MD5)
        assert files(tmp_path) == {"voice.mp3": CONTENT}
        (sent,) = server.requests
        assert (sent.method, sent.path, sent.header("Host")) == ("GET", "/out/voice.mp3", COS_HOST)
        assert sent.is_signed_with(CREDENTIALS.secret_key)
        assert sent.header("x-cos-security-token") == CREDENTIALS.token

    @pytest.mark.parametrize("key", STRANGE_KEYS)
    def test_the_key_arrives_as_it_was_signed(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, key: str
    ) -> None:
        server.play(http(b"x"))
        hook.download_file(key, tmp_path / "file")
        (sent,) = server.requests
        assert sent.path == f"/{key}"
        assert sent.is_signed_with(CREDENTIALS.secret_key)

    def test_a_download_replaces_an_older_file(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
    ) -> None:
        (tmp_path / "voice.mp3").write_bytes(b"old")
        server.play(http(b""))
        assert hook.download_file("voice.mp3", f"{tmp_path}/voice.mp3").size == 0
        assert files(tmp_path) == {"voice.mp3": b""}

    def test_a_downloaded_file_has_the_permissions_of_the_umask(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
    ) -> None:
        before = os.umask(0o027)
        try:
            server.play(http(CONTENT))
            hook.download_file("voice.mp3", tmp_path / "voice.mp3")
        finally:
            os.umask(before)
        assert (tmp_path / "voice.mp3").stat().st_mode & 0o777 == 0o640

    def test_compressed_content_is_not_unpacked(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.play(http(b"\x1f\x8b\x08", content_encoding="gzip"))
        hook.download_file("a.gz", tmp_path / "a.gz")
        assert files(tmp_path) == {"a.gz": b"\x1f\x8b\x08"}

    @pytest.mark.parametrize(
        "failure",
        [
            pytest.param(http(CONTENT, length=len(CONTENT) + 1, keep_alive=False), id="truncated"),
            pytest.param(http(CONTENT[:-1] + b"!"), id="other-md5"),
            pytest.param(
                raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
                id="truncated-chunked",
            ),
            pytest.param(http(CONTENT, 206), id="partial"),
            pytest.param(http("", 204), id="no-content"),
            pytest.param(error(503, "SlowDown"), id="503"),
            pytest.param(hang_up(), id="hang-up"),
            pytest.param(reset_after_reading(), id="reset"),
        ],
    )
    def test_a_failed_download_is_repeated_and_leaves_no_partial_file(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        tmp_path: Path,
        failure: Answer,
    ) -> None:
        (tmp_path / "voice.mp3").write_bytes(b"old")
        between: list[dict[str, bytes]] = []
        hook.sleep = lambda _: between.append(files(tmp_path))
        server.play(failure, http(CONTENT))
        hook.download_file("voice.mp3", tmp_path / "voice.mp3", md5=MD5)
        assert between == [{"voice.mp3": b"old"}]
        assert files(tmp_path) == {"voice.mp3": CONTENT}

    @pytest.mark.parametrize(
        ("answer", "kind"),
        [
            (http(CONTENT, length=len(CONTENT) + 1, keep_alive=False), TransportError),
            (http(b"something else"), InvalidResponseError),
            (http(CONTENT, 206), InvalidResponseError),
            (error(500, "InternalError"), ServerError),
        ],
    )
    def test_an_abandoned_download_leaves_no_file(
        self,
        make_hook: Callable[..., TencentCIHook],
        server: ScriptedServer,
        tmp_path: Path,
        pauses: list[float],
        answer: Answer,
        kind: type[TencentCIError],
    ) -> None:
        server.always("GET", answer)
        with pytest.raises(kind):
            make_hook(max_attempts=2).download_file("voice.mp3", tmp_path / "voice.mp3", md5=MD5)
        assert len(server.requests) == 2
        assert not files(tmp_path)

    @pytest.mark.parametrize("max_attempts", [1, 6])
    def test_different_content_is_downloaded_once_more(
        self,
        make_hook: Callable[..., TencentCIHook],
        server: ScriptedServer,
        tmp_path: Path,
        pauses: list[float],
        max_attempts: int,
    ) -> None:
        hook = make_hook(max_attempts=max_attempts)
        server.always("GET", http(b"something else"))
        with pytest.raises(InvalidResponseError, match=r"has MD5 .*, not .*written to this key since"):
            hook.download_file("voice.mp3", tmp_path / "voice.mp3", md5=MD5)
        assert len(server.requests) == min(max_attempts, 2)
        assert not files(tmp_path)

    def test_other_failures_in_between_do_not_count(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, pauses: list[float]
    ) -> None:
        other = http(b"something else")
        server.play(hang_up(), other, error(503, "SlowDown"), hang_up(), http(CONTENT))
        hook.download_file("voice.mp3", tmp_path / "voice.mp3", md5=MD5.upper())
        server.play(hang_up(), other, error(503, "SlowDown"), hang_up(), other)
        with pytest.raises(InvalidResponseError, match="has MD5"):
            hook.download_file("voice.mp3", tmp_path / "voice.mp3", md5=MD5)

    @pytest.mark.parametrize("md5", ["", "abc", f'"{MD5}"', "1B2M2Y8AsgTpgAmY7PhCfg==", MD5 + "0", 5])
    def test_an_invalid_md5_is_refused(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, md5: object
    ) -> None:
        with pytest.raises(RequestValidationError, match=r"md5 is .*, allowed: 32 hexadecimal digits"):
            hook.download_file("voice.mp3", tmp_path / "voice.mp3", md5=md5)  # type: ignore[arg-type]
        assert not server.requests

    def test_a_missing_object_is_reported_at_once(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, pauses: list[float]
    ) -> None:
        def slowly(exchange: Exchange) -> None:
            body = b"<Error><Code>NoSuchKey</Code><Message>No such key.</Message></Error>"
            exchange.send(head(body, 404, keep_alive=False) + body[:10])
            exchange.stopped.wait(0.05)
            exchange.send(body[10:])

        server.play(Answer(slowly))
        with pytest.raises(NotFoundError) as caught:
            hook.download_file("voice.mp3", tmp_path / "voice.mp3")
        assert (caught.value.code, caught.value.request_id) == ("NoSuchKey", REQUEST_ID)
        assert not pauses
        assert not files(tmp_path)

    @pytest.mark.parametrize("key", ["", "/voice.mp3", "a/..", "."])
    def test_a_bad_key_is_not_sent(self, hook: TencentCIHook, tmp_path: Path, key: str) -> None:
        with pytest.raises(RequestValidationError, match="object key"):
            hook.download_file(key, tmp_path / "voice.mp3")

    def test_a_missing_folder_is_an_error(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
    ) -> None:
        server.play(http(CONTENT))
        with pytest.raises(FileNotFoundError):
            hook.download_file("voice.mp3", tmp_path / "no" / "voice.mp3")


class TestUpload:
    @pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "one-byte", "more"])
    def test_an_upload_sends_the_file_with_its_md5(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, content: bytes
    ) -> None:
        source = tmp_path / "song.mp3"
        source.write_bytes(content)
        server.play(http())
        stored = hook.upload_file(source, "in/song.mp3")
        digest = hashlib.md5(content)
        assert (stored.path, stored.size, stored.md5) == (str(source), len(content), digest.hexdigest())
        (sent,) = server.requests
        assert (sent.method, sent.path, sent.header("Host")) == ("PUT", "/in/song.mp3", COS_HOST)
        assert sent.body == content
        assert sent.header("Content-Length") == str(len(content))
        assert sent.header("Transfer-Encoding") is None
        assert sent.header("Content-MD5") == base64.b64encode(digest.digest()).decode()
        assert "content-md5" in sent.authorization.header_list
        assert sent.is_signed_with(CREDENTIALS.secret_key)

    @pytest.mark.parametrize(
        ("name", "key", "content_type"),
        [
            *((f"song.{end}", f"in/song.{end}", kind) for end, kind in MEDIA_TYPES.items()),
            ("song.mp3", "in/song", "audio/mpeg"),
            ("song", "in/song.mp3", "audio/mpeg"),
            ("song.wav", "in/song.MP3", "audio/mpeg"),
            ("song", "data:in/a:b.mp3", "audio/mpeg"),
            ("list.txt", "list.txt", "text/plain"),
            ("song", "in/song", None),
            ("song", "in/song.unheard-of", None),
            ("song", "in.mp3/song", None),
            ("song", ".mp3", None),
            ("song", "songs.tar.gz", None),
            ("song", "in/\u58f0.\u97f3", None),
        ],
    )
    def test_the_content_type_follows_from_the_name(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        tmp_path: Path,
        name: str,
        key: str,
        content_type: str | None,
    ) -> None:
        (tmp_path / name).write_bytes(b"x")
        server.play(http())
        hook.upload_file(tmp_path / name, key)
        (sent,) = server.requests
        assert sent.header("Content-Type") == content_type
        assert "content-type" not in sent.authorization.header_list
        assert sent.is_signed_with(CREDENTIALS.secret_key)

    @pytest.mark.parametrize("key", [None, 5, ""])
    def test_a_bad_key_is_refused(self, hook: TencentCIHook, tmp_path: Path, key: object) -> None:
        (tmp_path / "song.mp3").write_bytes(b"x")
        with pytest.raises(RequestValidationError, match="object key is"):
            hook.upload_file(tmp_path / "song.mp3", key)  # type: ignore[arg-type]

    @pytest.mark.parametrize("key", STRANGE_KEYS)
    def test_the_key_arrives_as_it_was_signed(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path, key: str
    ) -> None:
        (tmp_path / "file").write_bytes(b"x")
        server.play(http())
        hook.upload_file(tmp_path / "file", key)
        (sent,) = server.requests
        assert sent.path == f"/{key}"
        assert sent.is_signed_with(CREDENTIALS.secret_key)

    @pytest.mark.parametrize("failure", [hang_up(), error(500, "InternalError"), error(429, "SlowDown")])
    def test_a_failed_upload_is_repeated_from_the_first_byte(
        self,
        hook: TencentCIHook,
        server: ScriptedServer,
        tmp_path: Path,
        pauses: list[float],
        failure: Answer,
    ) -> None:
        (tmp_path / "song.mp3").write_bytes(CONTENT)
        server.play(failure, http())
        hook.upload_file(tmp_path / "song.mp3", "in/song.mp3")
        assert [sent.body for sent in server.requests] == [CONTENT, CONTENT]
        assert pauses == [1]

    def test_a_refused_upload_is_an_error(
        self, hook: TencentCIHook, server: ScriptedServer, tmp_path: Path
    ) -> None:
        (tmp_path / "song.mp3").write_bytes(CONTENT)
        server.play(error(404, "NoSuchBucket"))
        with pytest.raises(NotFoundError):
            hook.upload_file(tmp_path / "song.mp3", "in/song.mp3")

    def test_a_missing_file_is_an_error(self, hook: TencentCIHook, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            hook.upload_file(tmp_path / "no.mp3", "in/song.mp3")


class TestObjects:
    def test_head_returns_size_and_storage_class(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always("HEAD", http(b"", 200, length=7, x_cos_storage_class="ARCHIVE", keep_alive=False))
        head = hook.head_object("in/a")
        assert (head.size, head.is_archived) == (7, True)
        assert server.requests[0].header("Host") == f"{BUCKET}.cos.{REGION}.myqcloud.com"

    def test_head_of_a_missing_object_is_an_error(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always("HEAD", http(b"", 404))
        with pytest.raises(NotFoundError, match="Check bucket, region and id"):
            hook.head_object("in/a")
