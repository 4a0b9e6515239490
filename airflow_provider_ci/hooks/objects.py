"""Files that are downloaded from COS or uploaded to it."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from airflow_provider_ci.exceptions import InvalidResponseError, RequestValidationError
from airflow_provider_ci.hooks import transport
from airflow_provider_ci.protocol.objects import GetObject
from airflow_provider_ci.protocol.wire import SignedRequest

if TYPE_CHECKING:
    import requests

_TYPES = mimetypes.MimeTypes()
# Types that Python has no name for, or another one in each version
for _suffix, _type in {
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
    _TYPES.add_type(_type, _suffix)
_MD5 = re.compile(r"[0-9a-fA-F]{32}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that was downloaded from COS or uploaded to it: its ``size`` in bytes and hex ``md5``."""

    path: str
    size: int
    md5: str


class Download:
    """The download of one object to a path, in one or more attempts.

    :param md5: hex MD5 that the content must have; ``None``: any.
    :raises RequestValidationError: ``md5`` is not an MD5.
    """

    def __init__(self, request: GetObject, path: str | os.PathLike[str], md5: str | None) -> None:
        if md5 is not None and not (isinstance(md5, str) and _MD5.fullmatch(md5)):
            raise RequestValidationError([f"md5 is {md5!r}, allowed: 32 hexadecimal digits"])
        self._request = request
        self._path = Path(path)
        self._md5 = md5
        self._has_differed = False

    def receive(self, response: requests.Response, request: SignedRequest, seconds: float) -> StoredFile:
        """Write the content of ``response`` to the path.

        :param seconds: how long reading an error may take.
        :raises InvalidResponseError: not the complete object, or its MD5 differs; ``final`` the second time.
        """
        if response.status_code != 200:
            self._request.parse(transport.read_response(response, request, seconds))
            raise InvalidResponseError(
                f"HTTP {response.status_code} is not the complete object",
                status=response.status_code,
                hint="Check endpoint_url and the proxies on the way",
            )
        try:
            return _write(transport.read_chunks(response), self._path, self._md5)
        except _DifferentMD5Error as error:
            error.final, self._has_differed = self._has_differed, True
            raise


class Upload:
    """The upload of one file, in one or more attempts."""

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self._path = Path(path)
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5")
        self._md5 = digest.hexdigest()
        #: Base64 MD5, as the service expects it.
        self.content_md5 = base64.b64encode(digest.digest()).decode()
        self.content_type = _guess_type(str(key)) or _guess_type(self._path.name)

    @contextmanager
    def open(self) -> Iterator[IO[bytes] | None]:
        """Open the file for one attempt; an empty file yields ``None``."""
        with self._path.open("rb") as file:
            self.stored = StoredFile(str(self._path), os.fstat(file.fileno()).st_size, self._md5)
            # requests would send an empty file in chunks, without the length that the service requires
            yield file if self.stored.size else None


class _DifferentMD5Error(InvalidResponseError):
    """The content has another MD5 than it must have."""


def _guess_type(name: str) -> str | None:
    """Return the content type for the end of a name; the same on every machine."""
    # only the end: a key with a colon would be taken for a URL
    content_type, encoding = _TYPES.guess_type("file" + PurePosixPath(name).suffix.lower())
    return content_type if encoding is None else None


def _write(chunks: Iterator[bytes], path: Path, md5: str | None) -> StoredFile:
    digest, size = hashlib.md5(usedforsecurity=False), 0
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with partial.open("xb") as file:
            for chunk in chunks:
                size += file.write(chunk)
                digest.update(chunk)
        if md5 is not None and digest.hexdigest() != md5.lower():
            raise _DifferentMD5Error(
                f"The content for {path} has MD5 {digest.hexdigest()}, not {md5}",
                hint="Another object may have been written to this key since: check who else writes to it",
            )
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return StoredFile(str(path), size, digest.hexdigest())
