"""An account with objects of its own, which the kit must not touch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_ci.hooks.ci import TencentCIHook
from tencent_ci_emulator.server import Emulator

CONTENT = b"This was here before, and is not the kit's.\n"
KEYS = ("notes.txt", "in/speech.wav", "airflow-ci-live/out/notes.txt")
OTHER_BUCKET = "other-1250000000"


class Account:
    """The owner of two buckets."""

    def __init__(self, emulator: Emulator, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT", json.dumps(emulator.connection))
        self.hook = TencentCIHook("account")
        self.buckets = {emulator.bucket, OTHER_BUCKET}
        self._emulator = emulator
        self._folder = folder
        path = folder / "content"
        path.write_bytes(CONTENT)
        for bucket in self.buckets:
            for key in KEYS:
                self.hook.upload_file(path, key, bucket=bucket)

    def new_buckets(self) -> set[str]:
        """Return the buckets that were made since."""
        return set(self._emulator.buckets()) - self.buckets

    def assert_untouched(self) -> None:
        assert self.new_buckets() == set()
        for bucket in self.buckets:
            assert {each.key for each in self.hook.list_objects(bucket=bucket)} == set(KEYS)
            for key in KEYS:
                path = self._folder / "downloaded"
                self.hook.download_file(key, path, bucket=bucket)
                assert path.read_bytes() == CONTENT
            assert [*self.hook.templates.list(bucket=bucket)] == []
