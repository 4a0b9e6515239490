"""The hook's calls about COS objects."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from airflow_provider_ci.exceptions import InvalidResponseError, RequestValidationError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.hooks.calls import Calls
from airflow_provider_ci.protocol.media_info import MediaInfo
from airflow_provider_ci.protocol.objects import GetMediaInfo, GetObject, HeadObject, ObjectHead, PutObject
from airflow_provider_ci.protocol.wire import Credentials

_TYPES = mimetypes.MimeTypes()
# What Python does not know, or names otherwise from version to version
for _end, _type in {
    ".aac": "audio/aac",
    ".amr": "audio/amr",
    ".flac": "audio/flac",
    ".m4a": "audio/mp4",
    ".mkv": "video/x-matroska",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".wma": "audio/x-ms-wma",
}.items():
    _TYPES.add_type(_type, _end)
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that went from or to COS: its ``size`` in bytes and hex ``md5``."""

    path: str
    size: int
    md5: str


class FileCalls(Calls):
    """Looks at, downloads and uploads objects."""

    def head_object(self, key: str, *, bucket: str | None = None, region: str | None = None) -> ObjectHead:
        """Return size, storage class and the like of an object, without its content.

        :raises NotFoundError: there is no such object.
        :raises PermissionDeniedError: ``cos:HeadObject`` is not permitted, or the SecretKey is wrong.
        """
        return self._call(HeadObject(key), bucket, region)

    def media_info(self, key: str, *, bucket: str | None = None, region: str | None = None) -> MediaInfo:
        """Return format and streams of a media object, measured by the service."""
        return self._call(GetMediaInfo(key), bucket, region)

    def download_file(
        self,
        key: str,
        path: str | os.PathLike[str],
        *,
        md5: str | None = None,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Download a COS object into ``path``, which appears only when it is complete.

        :param md5: hex MD5 that the content must have, for instance ``outputs["voice"]["md5"]`` of a job's
            result. Content that differs is downloaded once more at most.
        :raises RequestValidationError: ``md5`` is none.
        :raises NotFoundError: there is no such object.
        :raises InvalidResponseError: the content's MD5 differs.
        """
        call, endpoint = GetObject(key), self.settings.endpoint(bucket, region)
        target, has_differed = Path(path), False
        if md5 is not None and not (isinstance(md5, str) and _MD5.fullmatch(md5)):
            raise RequestValidationError([f"md5 is {md5!r}, allowed: 32 hexadecimal digits"])

        def attempt(credentials: Credentials) -> StoredFile:
            nonlocal has_differed
            send = self._signed(call, endpoint, credentials)
            with transport.open_answer(self._session, send, self.settings.timeouts) as answer:
                if answer.status_code != 200:
                    call.parse(transport.whole(answer, send, self.settings.read_timeout))
                    raise InvalidResponseError(
                        f"HTTP {answer.status_code} is not the whole object", status=answer.status_code
                    )
                try:
                    return _write_whole(transport.pieces(answer), target, md5)
                except InvalidResponseError as error:  # its MD5 differs
                    error.final, has_differed = has_differed, True
                    raise

        return self._repeat(call, attempt)

    def upload_file(
        self,
        path: str | os.PathLike[str],
        key: str,
        *,
        bucket: str | None = None,
        region: str | None = None,
    ) -> StoredFile:
        """Upload a file of at most 5 GB as a COS object; the service checks its MD5.

        The object's content type is guessed from the end of the key, else from that of the path.
        """
        source, endpoint = Path(path), self.settings.endpoint(bucket, region)
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "md5")
        content_type = _content_type(str(key)) or _content_type(source.name)
        call = PutObject(key, base64.b64encode(digest.digest()).decode(), content_type)

        def attempt(credentials: Credentials) -> StoredFile:
            size = source.stat().st_size
            with source.open("rb") as file:
                # requests would send an empty file in chunks, without the length that the service asks for
                data = file if size else None
                send = self._signed(call, endpoint, credentials)
                call.parse(transport.exchange(self._session, send, self.settings.timeouts, data=data))
            return StoredFile(str(source), size, digest.hexdigest())

        return self._repeat(call, attempt)


def _content_type(name: str) -> str | None:
    """Return what the end of a name says of the content; the same on every machine."""
    # only the end: a key with a colon would be taken for a URL
    content_type, encoding = _TYPES.guess_type("file" + PurePosixPath(name).suffix.lower())
    return content_type if encoding is None else None


def _write_whole(pieces: Iterator[bytes], target: Path, md5: str | None) -> StoredFile:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        with part.open("xb") as file:
            for piece in pieces:
                size += file.write(piece)
                digest.update(piece)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise InvalidResponseError(
                f"What arrived for {target} has MD5 {digest.hexdigest()}, not {md5}",
                hint="Another object may have been written to this key since",
            )
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return StoredFile(str(target), size, digest.hexdigest())
