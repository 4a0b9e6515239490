"""The data folder of an emulator that is not running."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

from tencent_ci_emulator.config import DEMO_BUCKET
from tencent_ci_emulator.database import Database
from tencent_ci_emulator.objects.data_folder import DATABASE, lock_data_folder
from tencent_ci_emulator.objects.object_store import ObjectStore


def put_into_folder(folder: Path, keys: Iterable[str], content: bytes, bucket: str = DEMO_BUCKET) -> None:
    """Store the same content under many keys, ten times as fast as by requests."""
    md5, now = hashlib.md5(content).hexdigest(), time.time()
    with lock_data_folder(folder):
        database = Database(folder / DATABASE)
        try:
            objects = ObjectStore(database, folder)
            with database.transaction():
                for key in keys:
                    path = objects.make_incoming_path()
                    path.write_bytes(content)
                    objects.put(bucket, key, path, md5=md5, modified=now)
        finally:
            database.close()
