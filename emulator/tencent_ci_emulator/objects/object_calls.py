"""COS object calls: PUT (436/7749), GET (436/7753), HEAD (436/7745), DELETE (436/7743), uploads in parts;
HEAD and GET of a bucket, its location (436/8275) and versioning (436/19888); media information (460/38935).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from lxml import etree

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.http.service_errors import ServiceFault
from tencent_ci_emulator.http.service_request import Incoming
from tencent_ci_emulator.http.xml import to_bytes
from tencent_ci_emulator.objects.cos_parameters import RESPONSE_HEADERS, unserved_parameter
from tencent_ci_emulator.objects.crc64 import crc64_of
from tencent_ci_emulator.objects.listing import list_objects
from tencent_ci_emulator.objects.media_info import media_info
from tencent_ci_emulator.objects.multipart import (
    Upload,
    UploadStore,
    completed,
    initiated,
    part_list,
    part_number,
    upload_list,
)
from tencent_ci_emulator.objects.object_store import MAX_KEY_BYTES, ObjectStore, StoredObject

_BLOCK = 256 * 1024
_LOOKS = 5
_CRC64 = "x-cos-hash-crc64ecma"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")

# Kept with the object and sent back with it; besides x-cos-meta-*
_KEPT_HEADERS = frozenset(
    (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    )
)


class COSService:
    """Answers object calls; keys are the path without its first slash."""

    def __init__(
        self, config: EmulatorConfig, objects: ObjectStore, uploads: UploadStore, clock: Clock
    ) -> None:
        self._config = config
        self._objects = objects
        self._uploads = uploads
        self._clock = clock

    async def handle(
        self, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Answer an authenticated request; ``headers`` go into the answer.

        :raises ServiceFault: it cannot be served.
        """
        bucket = self._bucket(request)
        unserved = unserved_parameter(request)
        if unserved is not None:
            raise ServiceFault(501, "NotImplemented", f"{request.method} with {unserved} is not served")
        key = request.path.removeprefix("/")
        if not key:
            return await self._whole_bucket(bucket, request, headers)
        if len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
            raise ServiceFault(400, "KeyTooLong", f"the object key is longer than {MAX_KEY_BYTES} bytes")
        calls: dict[str, Callable[..., Awaitable[web.StreamResponse]]] = {
            "PUT": self._put_part if request.has_flag("uploadid") else self._put,
            "GET": self._other_get if _has_any(request, ("uploadid", "ci-process")) else self._get,
            "HEAD": self._get,
            "DELETE": self._abort if request.has_flag("uploadid") else self._delete,
        }
        if _has_any(request, ("uploads", "uploadid")):
            calls["POST"] = self._begin if request.has_flag("uploads") else self._complete
        if request.method not in calls:
            raise ServiceFault(405, "MethodNotAllowed", f"{request.method} is not served for objects")
        if request.header("x-cos-copy-source"):
            raise ServiceFault(501, "NotImplemented", "objects cannot be copied here")
        if request.has_flag("partnumber") and not request.has_flag("uploadid"):
            raise ServiceFault(400, "InvalidArgument", "partNumber is given without uploadId")
        return await calls[request.method](bucket, key, request, raw, headers)

    def has(self, request: Incoming) -> bool:
        """Tell whether there is an object of a request's path."""
        bucket = request.bucket or self._config.default_bucket
        return self._objects.get(bucket, request.path.removeprefix("/")) is not None

    def _bucket(self, request: Incoming) -> str:
        if request.service_only:
            raise ServiceFault(501, "NotImplemented", "calls without a bucket are not served")
        bucket = request.bucket or self._config.default_bucket
        regions = (None, self._config.region, "accelerate")  # global acceleration names no region
        if bucket not in self._config.buckets or request.region not in regions:
            raise ServiceFault(404, "NoSuchBucket", f"bucket {bucket} does not exist in this region")
        return bucket

    async def _whole_bucket(
        self, bucket: str, request: Incoming, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        headers = {**headers, "x-cos-bucket-region": self._config.region}
        if request.method == "HEAD":
            return web.Response(headers=headers)
        if request.method != "GET":
            raise ServiceFault(501, "NotImplemented", "of the bucket calls, HEAD and GET are served")
        if request.has_flag("versioning"):
            return _xml(to_bytes(etree.Element("VersioningConfiguration")), headers)  # it never was enabled
        if request.has_flag("location"):
            location = etree.Element("LocationConstraint")
            location.text = self._config.region
            return _xml(to_bytes(location), headers)
        if request.has_flag("uploads"):
            params = request.given_params
            uploads = self._uploads.open_uploads(bucket, params.get("prefix", ""))
            return _xml(upload_list(bucket, uploads, params), headers)
        return _xml(await asyncio.to_thread(list_objects, bucket, request, self._objects), headers)

    async def _put(
        self, bucket: str, key: str, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        async with self._received(request, raw) as (path, md5):
            stored = await asyncio.to_thread(
                self._objects.put,
                bucket,
                key,
                path,
                md5=md5,
                modified=self._clock.now(),
                headers=_kept_headers(request),
            )
        return web.Response(headers={**headers, "ETag": stored.etag, _CRC64: stored.crc64})

    async def _begin(
        self, bucket: str, key: str, request: Incoming, _raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        upload_id = self._uploads.begin(bucket, key, _kept_headers(request), self._clock.now())
        return _xml(initiated(bucket, key, upload_id), headers)

    async def _put_part(
        self, bucket: str, key: str, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        upload, number = (
            self._upload(bucket, key, request),
            part_number(request.given_params.get("partnumber")),
        )
        async with self._received(request, raw) as (path, md5):
            crc64 = await asyncio.to_thread(crc64_of, path)
            self._uploads.put(upload, number, path, md5, self._clock.now())
        return web.Response(headers={**headers, "ETag": f'"{md5}"', _CRC64: crc64})

    async def _complete(
        self, bucket: str, key: str, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        upload = self._upload(bucket, key, request)
        async with self._received(request, raw) as (path, _):
            if path.stat().st_size > self._config.max_request_bytes:
                raise ServiceFault(400, "XMLSizeLimit", "the list of parts is too long")
            body = path.read_bytes()
        stored = await asyncio.to_thread(self._uploads.complete, upload, body, self._clock.now())
        location = (request.header("host") or "") + request.path
        return _xml(completed(location, bucket, stored), {**headers, _CRC64: stored.crc64})

    async def _abort(
        self, bucket: str, key: str, request: Incoming, _raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        self._uploads.abort(self._upload(bucket, key, request))
        return web.Response(status=204, headers=headers)

    async def _other_get(
        self, bucket: str, key: str, request: Incoming, _raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """The parts of an upload, or what is in a media file."""
        if request.has_flag("uploadid"):
            upload = self._upload(bucket, key, request)
            return _xml(part_list(upload, self._uploads.parts(upload), request.given_params), headers)
        process = request.given_params.get("ci-process")
        if process != "videoinfo":
            raise ServiceFault(501, "NotImplemented", f"ci-process={process} is not served, only videoinfo")
        stored = self._objects.get(bucket, key)
        if stored is None:
            raise ServiceFault(404, "NoSuchKey", "the object does not exist")
        return _xml(await asyncio.to_thread(media_info, stored), headers)

    def _upload(self, bucket: str, key: str, request: Incoming) -> Upload:
        return self._uploads.get(bucket, key, request.given_params.get("uploadid", ""))

    @asynccontextmanager
    async def _received(self, request: Incoming, raw: web.BaseRequest) -> AsyncIterator[tuple[Path, str]]:
        """Write the body to a file, which is deleted unless it was moved away; give it and its MD5."""
        if raw.content_length is None and "chunked" not in raw.headers.get("Transfer-Encoding", "").lower():
            raise ServiceFault(411, "MissingContentLength", "Content-Length is missing")
        if (raw.content_length or 0) > self._config.max_object_bytes:
            raise self._too_large()
        path = self._objects.incoming()
        try:
            md5 = await self._receive(raw, path)
            given = request.header("content-md5")
            if given is not None and given.strip() != base64.b64encode(md5).decode():
                raise ServiceFault(400, "BadDigest", "Content-MD5 does not match the content")
            yield path, md5.hex()
        finally:
            path.unlink(missing_ok=True)

    async def _receive(self, raw: web.BaseRequest, path: Path) -> bytes:
        """Write the body to a file, block by block; return its MD5."""
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        with path.open("wb") as file:
            async for block in raw.content.iter_chunked(_BLOCK):
                size += len(block)
                if size > self._config.max_object_bytes:
                    raise self._too_large()
                digest.update(block)
                file.write(block)
        return digest.digest()

    def _too_large(self) -> ServiceFault:
        return ServiceFault(
            413, "EntityTooLarge", f"at most {self._config.max_object_bytes} bytes are accepted"
        )

    async def _get(
        self, bucket: str, key: str, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        for _ in range(_LOOKS):
            stored = self._objects.get(bucket, key)
            if stored is None:
                raise ServiceFault(404, "NoSuchKey", "the object does not exist")
            with suppress(FileNotFoundError):  # overwritten by a job's result since it was looked up
                return await self._send(stored, request, raw, headers)
        raise ServiceFault(500, "InternalError", "the object has lost its content")

    async def _send(
        self, stored: StoredObject, request: Incoming, raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        status = _condition(request, stored)
        if status is not None:
            return web.Response(status=status, headers={**headers, "ETag": stored.etag})
        first, last = _range(request.header("range"), stored.size)
        partial = request.header("range") is not None
        facts = {**headers, **_facts(stored), **_wanted_headers(request)}
        response = web.StreamResponse(status=206 if partial else 200, headers=facts)
        if partial:
            response.headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        response.content_length = last - first + 1
        if request.effects.changes_answer:
            return await _unsent(response, None if request.method == "HEAD" else stored.path, first)
        if request.method == "HEAD":
            await response.prepare(raw)
            return response
        with stored.path.open(
            "rb"
        ) as file:  # opened before the first byte goes out, so a new PUT cannot mix in
            await response.prepare(raw)
            file.seek(first)
            with suppress(ConnectionError):  # the client has had enough
                async for block in _blocks(file.read, last - first + 1):
                    await response.write(block)
                await response.write_eof()
        return response

    async def _delete(
        self, bucket: str, key: str, _request: Incoming, _raw: web.BaseRequest, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        self._objects.delete(bucket, key)
        return web.Response(status=204, headers=headers)


async def _unsent(response: web.StreamResponse, path: Path | None, first: int) -> web.Response:
    """The same answer with its content in memory, because the fault plan spoils it before it goes out."""

    def content() -> bytes | None:
        if path is None:
            return None
        with path.open("rb") as file:
            file.seek(first)
            return file.read(response.content_length)

    body = await asyncio.to_thread(content)
    return web.Response(status=response.status, headers=response.headers, body=body)


async def _blocks(read: Callable[[int], bytes], size: int) -> AsyncIterator[bytes]:
    while size > 0:
        block = await asyncio.to_thread(read, min(size, _BLOCK)) if size > _BLOCK else read(size)
        if not block:
            return
        size -= len(block)
        yield block


def _has_any(request: Incoming, names: tuple[str, ...]) -> bool:
    return any(request.has_flag(name) for name in names)


def _xml(body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(body=body, headers={**headers, "Content-Type": "application/xml"})


def _kept_headers(request: Incoming) -> dict[str, str]:
    return {_as_sent_back(name): value for name, value in request.headers if _is_kept(name.lower())}


def _is_kept(name: str) -> bool:
    return name in _KEPT_HEADERS or name.startswith("x-cos-meta-")


def _as_sent_back(name: str) -> str:
    return name.lower() if name.lower().startswith("x-") else name.title()


def _facts(stored: StoredObject) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        **stored.headers,
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        _CRC64: stored.crc64,
        "Accept-Ranges": "bytes",
    }


def _wanted_headers(request: Incoming) -> dict[str, str]:
    """What a GET sets in its own answer, as in ``response-content-type``.

    :raises ServiceFault: a header cannot carry the value.
    """
    if request.method != "GET":
        return {}
    wanted = {RESPONSE_HEADERS[name]: name for name in RESPONSE_HEADERS if name in request.given_params}
    for name in wanted.values():
        value = request.given_params[name]
        if not value.isprintable():
            raise ServiceFault(400, "InvalidArgument", f"{name} has characters that no header can carry")
    return {header: request.given_params[name] for header, name in wanted.items()}


def _condition(request: Incoming, stored: StoredObject) -> int | None:
    """Return the status of an unmet condition on the ETag, or ``None``."""
    wanted, unwanted = request.header("if-match"), request.header("if-none-match")
    if wanted is not None and wanted not in ("*", stored.etag, stored.md5):
        return HTTPStatus.PRECONDITION_FAILED
    if unwanted is not None and unwanted in ("*", stored.etag, stored.md5):
        return HTTPStatus.NOT_MODIFIED
    return None


def _range(text: str | None, size: int) -> tuple[int, int]:
    """Return the first and last byte wanted; the last is one before the first for an empty object.

    :raises ServiceFault: 416, the range is malformed or outside the object.
    """
    if text is None:
        return 0, size - 1
    match = _RANGE.fullmatch(text.strip())
    first, last = (match[1], match[2]) if match else ("", "")
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
    elif last:
        start, end = max(0, size - int(last)), size - 1
    else:
        start, end = 0, -1
    if start > end:
        raise ServiceFault(416, "InvalidRange", f"the range cannot be taken from {size} bytes")
    return start, end
