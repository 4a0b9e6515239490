"""The CRC-64 that COS sends of each object, as ``x-cos-hash-crc64ecma`` (436/40334)."""

from __future__ import annotations

from pathlib import Path

from fastcrc import crc64

_BLOCK = 1024**2


def crc64_of(path: Path) -> str:
    """Return a file's CRC-64 (ECMA-182, as XZ computes it) as COS writes it: a decimal number."""
    value = crc64.xz(b"")
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            value = crc64.xz(block, value)
    return str(value)
