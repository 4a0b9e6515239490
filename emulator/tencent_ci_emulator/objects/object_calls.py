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
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path

from aiohttp import web

from tencent_ci_emulator.clock import Clock
from tencent_ci_emulator.config import EmulatorConfig
from tencent_ci_emulator.faults.effects import Effects
from tencent_ci_emulator.http.service_errors import ServiceError
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.http.xml import Element, build, to_bytes
from tencent_ci_emulator.media.inspect import inspect
from tencent_ci_emulator.media.source import UnsupportedMediaError
from tencent_ci_emulator.objects.cos_parameters import RESPONSE_HEADERS, unserved_parameter
from tencent_ci_emulator.objects.crc64 import crc64_of
from tencent_ci_emulator.objects.listing import list_objects
from tencent_ci_emulator.objects.multipart import (
    Upload,
    UploadStore,
    describe_completed,
    describe_initiated,
    list_parts,
    list_uploads,
    part_number,
)
from tencent_ci_emulator.objects.object_store import MAX_KEY_BYTES, ObjectStore, StoredObject

_BLOCK_BYTES = 256 * 1024
_READ_ATTEMPTS = 5
_CRC64 = "x-cos-hash-crc64ecma"
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
# Kept with the object and sent back with it; besides x-cos-meta-*
_KEPT_HEADERS = frozenset(
    (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("content-type", "expires"),
    )
)


@dataclass(frozen=True, slots=True)
class _ObjectCall:
    """One authenticated call about an object, or about a bucket if the key is empty.

    :param headers: those that every response has.
    :param effects: what the fault plan does to the response.
    """

    bucket: str
    key: str
    request: ServiceRequest
    raw: web.BaseRequest
    headers: Mapping[str, str]
    effects: Effects

    def has(self, *names: str) -> bool:
        """Return whether one of these parameters is there."""
        return any(self.request.has_flag(name) for name in names)

    def respond(self, headers: Mapping[str, str], status: int = 200) -> web.Response:
        """Return a response without a body."""
        return web.Response(status=status, headers={**self.headers, **headers})

    def respond_xml(self, document: Element, headers: Mapping[str, str] | None = None) -> web.Response:
        """Return a response with a document as its body."""
        all_headers = {**self.headers, **(headers or {}), "Content-Type": "application/xml"}
        return web.Response(body=to_bytes(document), headers=all_headers)


class ObjectCalls:
    """Answers object calls; keys are the path without its first slash."""

    def __init__(
        self, config: EmulatorConfig, clock: Clock, objects: ObjectStore, uploads: UploadStore
    ) -> None:
        self._config = config
        self._clock = clock
        self._objects = objects
        self._uploads = uploads

    async def handle(
        self, request: ServiceRequest, raw: web.BaseRequest, headers: Mapping[str, str], effects: Effects
    ) -> web.StreamResponse:
        """Answer an authenticated request; ``headers`` go into the response, and ``effects`` may change it.

        :raises ServiceError: it cannot be served.
        """
        bucket, key = self._bucket(request), request.path.removeprefix("/")
        unserved = unserved_parameter(request.method, request.path, request.params)
        if unserved is not None:
            raise ServiceError(501, "NotImplemented", f"{request.method} with {unserved} is not served")
        call = _ObjectCall(bucket, key, request, raw, headers, effects)
        if not key:
            return await self._answer_bucket_call(call)
        if len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES:
            raise ServiceError(400, "KeyTooLong", f"the object key is longer than {MAX_KEY_BYTES} bytes")
        handlers: dict[str, Callable[[_ObjectCall], Awaitable[web.StreamResponse]]] = {
            "PUT": self._put_part if call.has("uploadid") else self._put,
            "GET": self._list_parts
            if call.has("uploadid")
            else self._inspect
            if call.has("ci-process")
            else self._get,
            "HEAD": self._get,
            "DELETE": self._abort_upload if call.has("uploadid") else self._delete,
        }
        if call.has("uploads", "uploadid"):
            handlers["POST"] = self._begin_upload if call.has("uploads") else self._complete_upload
        if request.method not in handlers:
            raise ServiceError(405, "MethodNotAllowed", f"{request.method} is not served for objects")
        if request.header("x-cos-copy-source"):
            raise ServiceError(501, "NotImplemented", "objects cannot be copied here")
        if call.has("partnumber") and not call.has("uploadid"):
            raise ServiceError(400, "InvalidArgument", "partNumber is given without uploadId")
        return await handlers[request.method](call)

    def has(self, request: ServiceRequest) -> bool:
        """Return whether there is an object of a request's path."""
        bucket = request.bucket or self._config.default_bucket
        return self._objects.get(bucket, request.path.removeprefix("/")) is not None

    def _bucket(self, request: ServiceRequest) -> str:
        if request.service_only:
            raise ServiceError(501, "NotImplemented", "calls without a bucket are not served")
        bucket = request.bucket or self._config.default_bucket
        regions = (None, self._config.region, "accelerate")  # global acceleration names no region
        if bucket not in self._config.buckets or request.region not in regions:
            raise ServiceError(404, "NoSuchBucket", f"bucket {bucket} does not exist in this region")
        return bucket

    async def _answer_bucket_call(self, call: _ObjectCall) -> web.StreamResponse:
        region, params = {"x-cos-bucket-region": self._config.region}, call.request.given_params
        if call.request.method == "HEAD":
            return call.respond(region)
        if call.request.method != "GET":
            raise ServiceError(501, "NotImplemented", "of the bucket calls, HEAD and GET are served")
        if call.has("versioning"):
            document = build("VersioningConfiguration", {})  # it never was enabled
        elif call.has("location"):
            document = build("LocationConstraint", self._config.region)
        elif call.has("uploads"):
            uploads = self._uploads.open_uploads(call.bucket, params.get("prefix", ""))
            document = list_uploads(call.bucket, uploads, params)
        else:
            document = await asyncio.to_thread(list_objects, call.bucket, call.request.params, self._objects)
        return call.respond_xml(document, region)

    async def _put(self, call: _ObjectCall) -> web.StreamResponse:
        async with self._received(call) as (path, md5):
            stored = await asyncio.to_thread(
                self._objects.put,
                call.bucket,
                call.key,
                path,
                md5=md5,
                modified=self._clock.now(),
                headers=_kept_headers(call.request),
            )
        return call.respond({"ETag": stored.etag, _CRC64: stored.crc64})

    async def _begin_upload(self, call: _ObjectCall) -> web.StreamResponse:
        headers = _kept_headers(call.request)
        upload_id = self._uploads.begin(call.bucket, call.key, headers, self._clock.now())
        return call.respond_xml(describe_initiated(call.bucket, call.key, upload_id))

    async def _put_part(self, call: _ObjectCall) -> web.StreamResponse:
        upload, number = self._upload(call), part_number(call.request.given_params.get("partnumber"))
        async with self._received(call) as (path, md5):
            crc64 = await asyncio.to_thread(crc64_of, path)
            self._uploads.put(upload, number, path, md5, self._clock.now())
        return call.respond({"ETag": f'"{md5}"', _CRC64: crc64})

    async def _complete_upload(self, call: _ObjectCall) -> web.StreamResponse:
        upload = self._upload(call)
        async with self._received(call) as (path, _):
            if path.stat().st_size > self._config.max_request_bytes:
                raise ServiceError(400, "XMLSizeLimit", "the list of parts is too long")
            body = path.read_bytes()
        stored = await asyncio.to_thread(self._uploads.complete, upload, body, self._clock.now())
        location = (call.request.header("host") or "") + call.request.path
        return call.respond_xml(describe_completed(location, call.bucket, stored), {_CRC64: stored.crc64})

    async def _abort_upload(self, call: _ObjectCall) -> web.StreamResponse:
        self._uploads.abort(self._upload(call))
        return call.respond({}, status=204)

    async def _list_parts(self, call: _ObjectCall) -> web.StreamResponse:
        upload = self._upload(call)
        return call.respond_xml(list_parts(upload, self._uploads.parts(upload), call.request.given_params))

    async def _inspect(self, call: _ObjectCall) -> web.StreamResponse:
        """Tell what is in a media file. Which code the service has for another file is not documented."""
        process = call.request.given_params.get("ci-process")
        if process != "videoinfo":
            raise ServiceError(501, "NotImplemented", f"ci-process={process} is not served, only videoinfo")
        stored = self._objects.get(call.bucket, call.key)
        if stored is None:
            raise ServiceError(404, "NoSuchKey", "the object does not exist")
        try:
            info = await asyncio.to_thread(inspect, stored.path)
        except UnsupportedMediaError as error:
            raise ServiceError(400, "ResourceNotSupported", f"the object cannot be read: {error}") from None
        return call.respond_xml(build("Response", {"MediaInfo": info}))

    def _upload(self, call: _ObjectCall) -> Upload:
        return self._uploads.get(call.bucket, call.key, call.request.given_params.get("uploadid", ""))

    @asynccontextmanager
    async def _received(self, call: _ObjectCall) -> AsyncIterator[tuple[Path, str]]:
        """Write the body to a file, which is deleted unless it was moved away; give it and its MD5."""
        raw = call.raw
        if raw.content_length is None and "chunked" not in raw.headers.get("Transfer-Encoding", "").lower():
            raise ServiceError(411, "MissingContentLength", "Content-Length is missing")
        if (raw.content_length or 0) > self._config.max_object_bytes:
            raise self._too_large()
        path = self._objects.incoming()
        try:
            md5 = await self._receive(raw, path)
            given = call.request.header("content-md5")
            if given is not None and given.strip() != base64.b64encode(md5).decode():
                raise ServiceError(400, "BadDigest", "Content-MD5 does not match the content")
            yield path, md5.hex()
        finally:
            path.unlink(missing_ok=True)

    async def _receive(self, raw: web.BaseRequest, path: Path) -> bytes:
        """Write the body to a file, block by block; return its MD5."""
        digest, size = hashlib.md5(usedforsecurity=False), 0
        with path.open("wb") as file:
            async for block in raw.content.iter_chunked(_BLOCK_BYTES):
                size += len(block)
                if size > self._config.max_object_bytes:
                    raise self._too_large()
                digest.update(block)
                file.write(block)
        return digest.digest()

    def _too_large(self) -> ServiceError:
        most = self._config.max_object_bytes
        return ServiceError(413, "EntityTooLarge", f"at most {most} bytes are accepted")

    async def _get(self, call: _ObjectCall) -> web.StreamResponse:
        for _ in range(_READ_ATTEMPTS):
            stored = self._objects.get(call.bucket, call.key)
            if stored is None:
                raise ServiceError(404, "NoSuchKey", "the object does not exist")
            with suppress(FileNotFoundError):  # overwritten by a job's result since it was looked up
                return await self._send(stored, call)
        raise ServiceError(500, "InternalError", "the object has lost its content")

    async def _send(self, stored: StoredObject, call: _ObjectCall) -> web.StreamResponse:
        request = call.request
        status = _unmet_condition(request, stored)
        if status is not None:
            return call.respond({"ETag": stored.etag}, status)
        wanted_range = request.header("range")
        first, last = _range(wanted_range, stored.size)
        headers = {**call.headers, **_object_headers(stored), **_wanted_headers(request)}
        response = web.StreamResponse(status=206 if wanted_range is not None else 200, headers=headers)
        if wanted_range is not None:
            response.headers["Content-Range"] = f"bytes {first}-{last}/{stored.size}"
        response.content_length = last - first + 1
        if call.effects.changes_response:
            return await _in_memory(response, None if request.method == "HEAD" else stored.path, first)
        if request.method == "HEAD":
            await response.prepare(call.raw)
            return response
        # Opened before the first byte goes out, so that a new PUT cannot mix in
        with stored.path.open("rb") as file:
            await response.prepare(call.raw)
            file.seek(first)
            with suppress(ConnectionError):  # the client has had enough
                async for block in _blocks(file.read, last - first + 1):
                    await response.write(block)
                await response.write_eof()
        return response

    async def _delete(self, call: _ObjectCall) -> web.StreamResponse:
        self._objects.delete(call.bucket, call.key)
        return call.respond({}, status=204)


async def _in_memory(response: web.StreamResponse, path: Path | None, first: int) -> web.Response:
    """Return the same response with its content in memory: the fault plan changes it before it goes out."""

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
        block = await asyncio.to_thread(read, min(size, _BLOCK_BYTES)) if size > _BLOCK_BYTES else read(size)
        if not block:
            return
        size -= len(block)
        yield block


def _kept_headers(request: ServiceRequest) -> dict[str, str]:
    kept = {name.lower(): value for name, value in request.headers if _is_kept(name.lower())}
    return {name if name.startswith("x-") else name.title(): value for name, value in kept.items()}


def _is_kept(name: str) -> bool:
    return name in _KEPT_HEADERS or name.startswith("x-cos-meta-")


def _object_headers(stored: StoredObject) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        **stored.headers,
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        _CRC64: stored.crc64,
        "Accept-Ranges": "bytes",
    }


def _wanted_headers(request: ServiceRequest) -> dict[str, str]:
    """What a GET sets in its own answer, as in ``response-content-type``.

    :raises ServiceError: a header cannot carry the value.
    """
    if request.method != "GET":
        return {}
    wanted = {RESPONSE_HEADERS[name]: name for name in RESPONSE_HEADERS if name in request.given_params}
    for name in wanted.values():
        value = request.given_params[name]
        if not value.isprintable():
            raise ServiceError(400, "InvalidArgument", f"{name} has characters that no header can carry")
    return {header: request.given_params[name] for header, name in wanted.items()}


def _unmet_condition(request: ServiceRequest, stored: StoredObject) -> int | None:
    """Return the status of an unmet condition on the ETag, or ``None``."""
    wanted, unwanted = request.header("if-match"), request.header("if-none-match")
    if wanted is not None and wanted not in ("*", stored.etag, stored.md5):
        return HTTPStatus.PRECONDITION_FAILED
    if unwanted is not None and unwanted in ("*", stored.etag, stored.md5):
        return HTTPStatus.NOT_MODIFIED
    return None


def _range(text: str | None, size: int) -> tuple[int, int]:
    """Return the first and last byte wanted; the last is one before the first for an empty object.

    :raises ServiceError: 416, the range is malformed or outside the object.
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
        raise ServiceError(416, "InvalidRange", f"the range cannot be taken from {size} bytes")
    return start, end
