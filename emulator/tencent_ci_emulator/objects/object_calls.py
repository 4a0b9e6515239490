"""COS object calls: PUT (436/7749), GET (436/7753), HEAD (436/7745), DELETE (436/7743, several 436/8289),
uploads in parts; PUT (436/7738), DELETE (436/7732), HEAD and GET of a bucket, its location (436/8275) and
versioning (436/19888); media information (460/38935).
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
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
from tencent_ci_emulator.http.errors import ServiceError, invalid_argument
from tencent_ci_emulator.http.operations import RESPONSE_HEADERS, unserved_parameter
from tencent_ci_emulator.http.service_request import ServiceRequest
from tencent_ci_emulator.http.xml import Element, build, to_bytes
from tencent_ci_emulator.media.media_info import inspect
from tencent_ci_emulator.media.source import UnsupportedMediaError
from tencent_ci_emulator.objects.buckets import Buckets
from tencent_ci_emulator.objects.deletion import read_deletion
from tencent_ci_emulator.objects.listing import list_objects
from tencent_ci_emulator.objects.multipart import (
    Upload,
    UploadStore,
    describe_completed,
    describe_initiated,
    list_parts,
    list_uploads,
    read_part_number,
)
from tencent_ci_emulator.objects.object_store import MAX_KEY_BYTES, ObjectStore, StoredObject, crc64_of

_BLOCK_BYTES = 256 * 1024
_READ_ATTEMPTS = 5
_CRC64 = "x-cos-hash-crc64ecma"
# Stored with the object and sent back with it; besides x-cos-meta-*
_STORED_HEADERS = frozenset(
    (
        *("cache-control", "content-disposition", "content-encoding", "content-language"),
        *("content-type", "expires"),
    )
)


@dataclass(frozen=True, slots=True)
class _ObjectCall:
    """One authenticated call about an object, or about a bucket if the key is empty.

    :param headers: of every response.
    :param effects: of the fault plan on the response.
    """

    bucket: str
    key: str
    request: ServiceRequest
    raw: web.Request
    headers: Mapping[str, str]
    effects: Effects

    def respond(self, headers: Mapping[str, str], status: int = 200) -> web.Response:
        """Return a response without a body."""
        return web.Response(status=status, headers={**self.headers, **headers})

    def respond_xml(self, document: Element, headers: Mapping[str, str] | None = None) -> web.Response:
        """Return a response with a document as its body."""
        all_headers = {**self.headers, **(headers or {}), "Content-Type": "application/xml"}
        return web.Response(body=to_bytes(document), headers=all_headers)


_Handler = Callable[[_ObjectCall], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ObjectCalls:
    """Handles object calls; keys are the path without its first slash."""

    config: EmulatorConfig
    clock: Clock
    buckets: Buckets
    objects: ObjectStore
    uploads: UploadStore

    async def handle(
        self, request: ServiceRequest, raw: web.Request, headers: Mapping[str, str], effects: Effects
    ) -> web.StreamResponse:
        """Handle an authenticated request.

        :param headers: of the response.
        :param effects: of the fault plan; the caller applies them.
        :raises ServiceError: it cannot be served.
        """
        key = request.path.removeprefix("/")
        bucket = self._bucket(request, is_new=request.method == "PUT" and not key)
        parameter = unserved_parameter(request.method, request.path, request.params)
        if parameter is not None:
            raise ServiceError(501, "NotImplemented", f"{request.method} with {parameter} is not served")
        call = _ObjectCall(bucket, key, request, raw, headers, effects)
        if not key:
            return await self._handle_bucket_call(call)
        is_too_long = len(key.encode(errors="surrogateescape")) > MAX_KEY_BYTES
        if is_too_long and self.objects.get(bucket, key) is None:  # the result of a job may have such a key
            raise ServiceError(400, "KeyTooLong", f"the object key is longer than {MAX_KEY_BYTES} bytes")
        handler = self._find_handler(request)
        if handler is None:
            raise ServiceError(405, "MethodNotAllowed", f"{request.method} is not served for objects")
        if request.header("x-cos-copy-source"):
            raise ServiceError(501, "NotImplemented", "objects cannot be copied here")
        if request.has_param("partnumber") and not request.has_param("uploadid"):
            raise invalid_argument("partNumber needs uploadId")
        return await handler(call)

    def has(self, request: ServiceRequest) -> bool:
        """Return whether the path of a request is the key of an object."""
        bucket = request.bucket or self.config.default_bucket
        return self.objects.get(bucket, request.path.removeprefix("/")) is not None

    def _find_handler(self, request: ServiceRequest) -> _Handler | None:
        handlers: dict[str, _Handler] = {
            "PUT": self._put,
            "GET": self._inspect if request.has_param("ci-process") else self._get,
            "HEAD": self._get,
            "DELETE": self._delete,
        }
        if request.has_param("uploadid"):
            handlers |= {
                "PUT": self._put_part,
                "GET": self._list_parts,
                "DELETE": self._abort_upload,
                "POST": self._complete_upload,
            }
        if request.has_param("uploads"):
            handlers["POST"] = self._begin_upload
        return handlers.get(request.method)

    def _bucket(self, request: ServiceRequest, is_new: bool) -> str:
        if request.names_no_bucket:
            raise ServiceError(501, "NotImplemented", "calls without a bucket are not served")
        bucket = request.bucket or self.config.default_bucket
        regions = (None, self.config.region, "accelerate")  # global acceleration names no region
        if is_new and request.region not in regions:
            message = f"all buckets are in region {self.config.region} here"
            raise ServiceError(400, "InvalidRegionName", message)
        if not is_new and not (request.region in regions and self.buckets.exists(bucket)):
            raise ServiceError(404, "NoSuchBucket", f"bucket {bucket} does not exist in this region")
        return bucket

    async def _handle_bucket_call(self, call: _ObjectCall) -> web.StreamResponse:
        request, region = call.request, {"x-cos-bucket-region": self.config.region}
        if request.method == "HEAD":
            return call.respond(region)
        if request.method == "PUT":
            self.buckets.create(call.bucket)
            return call.respond({})
        if request.method == "DELETE":
            self.buckets.delete(call.bucket)
            return call.respond({}, status=204)
        if request.method == "POST" and request.has_param("delete"):
            return await self._delete_several(call)
        if request.method != "GET":
            message = "of the bucket calls, PUT, GET, HEAD, DELETE and POST with delete are served"
            raise ServiceError(501, "NotImplemented", message)
        if request.has_param("versioning"):
            document = build("VersioningConfiguration", {})  # never enabled
        elif request.has_param("location"):
            document = build("LocationConstraint", self.config.region)
        elif request.has_param("uploads"):
            params = request.nonempty_params
            uploads = self.uploads.list_unfinished(call.bucket, params.get("prefix", ""))
            document = list_uploads(call.bucket, uploads, params)
        else:
            document = await asyncio.to_thread(list_objects, call.bucket, request.params, self.objects)
        return call.respond_xml(document, region)

    async def _put(self, call: _ObjectCall) -> web.StreamResponse:
        async with self._receive_body(call) as (path, md5):
            stored = await asyncio.to_thread(
                self.objects.put,
                call.bucket,
                call.key,
                path,
                md5=md5,
                modified=self.clock.now(),
                headers=_headers_to_store(call.request),
            )
        return call.respond({"ETag": stored.etag, _CRC64: stored.crc64})

    async def _begin_upload(self, call: _ObjectCall) -> web.StreamResponse:
        headers = _headers_to_store(call.request)
        upload_id = self.uploads.begin(call.bucket, call.key, headers, self.clock.now())
        return call.respond_xml(describe_initiated(call.bucket, call.key, upload_id))

    async def _put_part(self, call: _ObjectCall) -> web.StreamResponse:
        upload, number = self._upload(call), read_part_number(call.request.nonempty_params.get("partnumber"))
        async with self._receive_body(call) as (path, md5):
            crc64 = await asyncio.to_thread(crc64_of, path)
            self.uploads.put(upload, number, path, md5, self.clock.now())
        return call.respond({"ETag": f'"{md5}"', _CRC64: crc64})

    async def _complete_upload(self, call: _ObjectCall) -> web.StreamResponse:
        upload = self._upload(call)
        body = await self._receive_list(call, "parts")
        stored = await asyncio.to_thread(self.uploads.complete, upload, body, self.clock.now())
        location = (call.request.header("host") or "") + call.request.path
        return call.respond_xml(describe_completed(location, call.bucket, stored), {_CRC64: stored.crc64})

    async def _receive_list(self, call: _ObjectCall, kind: str) -> bytes:
        """Return a body in XML that lists parts or objects."""
        async with self._receive_body(call) as (path, _):
            if path.stat().st_size > self.config.max_request_bytes:
                raise ServiceError(400, "XMLSizeLimit", f"the list of {kind} is too long")
            return path.read_bytes()

    async def _abort_upload(self, call: _ObjectCall) -> web.StreamResponse:
        self.uploads.abort(self._upload(call))
        return call.respond({}, status=204)

    async def _list_parts(self, call: _ObjectCall) -> web.StreamResponse:
        upload = self._upload(call)
        return call.respond_xml(list_parts(upload, self.uploads.parts(upload), call.request.nonempty_params))

    async def _inspect(self, call: _ObjectCall) -> web.StreamResponse:
        """Describe a media file. The service's code for other files is not documented."""
        process = call.request.nonempty_params.get("ci-process")
        if process != "videoinfo":
            raise ServiceError(501, "NotImplemented", f"ci-process={process} is not served, only videoinfo")
        stored = self.objects.get(call.bucket, call.key)
        if stored is None:
            raise ServiceError(404, "NoSuchKey", "the object does not exist")
        try:
            info = await asyncio.to_thread(inspect, stored.path)
        except UnsupportedMediaError as error:
            raise ServiceError(400, "ResourceNotSupported", f"the object cannot be read: {error}") from None
        return call.respond_xml(build("Response", {"MediaInfo": info}))

    def _upload(self, call: _ObjectCall) -> Upload:
        return self.uploads.get(call.bucket, call.key, call.request.nonempty_params.get("uploadid", ""))

    @asynccontextmanager
    async def _receive_body(self, call: _ObjectCall) -> AsyncIterator[tuple[Path, str]]:
        """Write the body to a file, yield the file and its MD5, and delete the file unless it was moved."""
        raw = call.raw
        if raw.content_length is None and "chunked" not in raw.headers.get("Transfer-Encoding", "").lower():
            raise ServiceError(411, "MissingContentLength", "Content-Length is missing")
        self._check_size(raw.content_length or 0)
        path, digest, size = self.objects.make_incoming_path(), hashlib.md5(usedforsecurity=False), 0
        try:
            with path.open("wb") as file:
                async for block in raw.content.iter_chunked(_BLOCK_BYTES):
                    size += len(block)
                    self._check_size(size)
                    digest.update(block)
                    file.write(block)
            content_md5 = call.request.header("content-md5")
            if content_md5 is not None and content_md5.strip() != base64.b64encode(digest.digest()).decode():
                raise ServiceError(400, "BadDigest", "Content-MD5 does not match the content")
            yield path, digest.hexdigest()
        finally:
            path.unlink(missing_ok=True)

    def _check_size(self, size: int) -> None:
        most = self.config.max_object_bytes
        if size > most:
            raise ServiceError(413, "EntityTooLarge", f"at most {most} bytes are accepted")

    async def _get(self, call: _ObjectCall) -> web.StreamResponse:
        for _ in range(_READ_ATTEMPTS):
            stored = self.objects.get(call.bucket, call.key)
            if stored is None:
                raise ServiceError(404, "NoSuchKey", "the object does not exist")
            with suppress(FileNotFoundError):  # overwritten by a job's result since it was looked up
                return await _send(stored, call)
        raise ServiceError(500, "InternalError", "the object has lost its content")

    async def _delete(self, call: _ObjectCall) -> web.StreamResponse:
        self.objects.delete(call.bucket, call.key)
        return call.respond({}, status=204)

    async def _delete_several(self, call: _ObjectCall) -> web.StreamResponse:
        """Delete the objects that the body lists. An object that does not exist counts as deleted."""
        if call.request.header("content-md5") is None:
            raise ServiceError(400, "InvalidRequest", "Content-MD5 is missing")
        keys, is_quiet = read_deletion(await self._receive_list(call, "objects"))
        for key in keys:
            await asyncio.to_thread(self.objects.delete, call.bucket, key)
        deleted = [] if is_quiet else [{"Key": key} for key in keys]
        return call.respond_xml(build("DeleteResult", {"Deleted": deleted}))


async def _send(stored: StoredObject, call: _ObjectCall) -> web.StreamResponse:
    """Send an object, a range of it, or only its headers.

    :raises FileNotFoundError: its content does not exist any more; nothing has been sent.
    """
    request = call.request
    status = _status_of_unmet_condition(request, stored)
    if status is not None:
        return call.respond({"ETag": stored.etag}, status)
    has_range = request.header("range") is not None
    first, end = _read_range(call.raw, stored.size)
    headers = {**call.headers, **_object_headers(stored), **_requested_headers(request)}
    response = web.StreamResponse(status=206 if has_range else 200, headers=headers)
    if has_range:
        response.headers["Content-Range"] = f"bytes {first}-{end - 1}/{stored.size}"
    response.content_length = end - first
    if call.effects.changes_response:
        path = None if request.method == "HEAD" else stored.path
        return await _load_into_memory(response, path, first, end - first)
    if request.method == "HEAD":
        await response.prepare(call.raw)
        return response
    # Opened before the first byte is sent, so that a PUT meanwhile does not change the content
    with stored.path.open("rb") as file:
        await response.prepare(call.raw)
        file.seek(first)
        with suppress(ConnectionError):  # the client has closed the connection
            while block := await asyncio.to_thread(file.read, min(end - file.tell(), _BLOCK_BYTES)):
                await response.write(block)
            await response.write_eof()
    return response


async def _load_into_memory(
    response: web.StreamResponse, path: Path | None, first: int, size: int
) -> web.Response:
    """Return the same response with its content in memory, because the fault plan changes it."""

    def read() -> bytes | None:
        if path is None:
            return None
        with path.open("rb") as file:
            file.seek(first)
            return file.read(size)

    body = await asyncio.to_thread(read)
    return web.Response(status=response.status, headers=response.headers, body=body)


def _headers_to_store(request: ServiceRequest) -> dict[str, str]:
    stored = {}
    for name, value in request.headers:
        if name.lower().startswith("x-cos-meta-"):
            stored[name.lower()] = value
        elif name.lower() in _STORED_HEADERS:
            stored[name.title()] = value
    return stored


def _object_headers(stored: StoredObject) -> dict[str, str]:
    return {
        "Content-Type": "application/octet-stream",
        **stored.headers,
        "ETag": stored.etag,
        "Last-Modified": formatdate(stored.modified, usegmt=True),
        _CRC64: stored.crc64,
        "Accept-Ranges": "bytes",
    }


def _requested_headers(request: ServiceRequest) -> dict[str, str]:
    """Return the response headers that a GET sets by parameters such as ``response-content-type``.

    :raises ServiceError: a header cannot carry the value.
    """
    if request.method != "GET":
        return {}
    params = request.nonempty_params
    for name in RESPONSE_HEADERS:
        if not params.get(name, "").isprintable():
            raise invalid_argument(f"{name} has characters that no header can carry")
    return {header: params[name] for name, header in RESPONSE_HEADERS.items() if name in params}


def _status_of_unmet_condition(request: ServiceRequest, stored: StoredObject) -> int | None:
    """Return the status for an unmet condition on the ETag, or ``None``."""
    matching = ("*", stored.etag, stored.md5)
    if_match, if_none_match = request.header("if-match"), request.header("if-none-match")
    if if_match is not None and if_match not in matching:
        return HTTPStatus.PRECONDITION_FAILED
    return HTTPStatus.NOT_MODIFIED if if_none_match in matching else None


def _read_range(raw: web.Request, size: int) -> tuple[int, int]:
    """Return the position of the first byte that is requested, and the position after the last.

    :raises ServiceError: 416, the range is malformed or outside the object.
    """
    if "Range" not in raw.headers:
        return 0, size
    try:
        first, end, _ = raw.http_range.indices(size)
    except ValueError:
        first = end = 0
    if first >= end:
        raise ServiceError(416, "InvalidRange", f"the range cannot be taken from {size} bytes")
    return first, end
