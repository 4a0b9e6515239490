"""Tencent's SDK for Node drives the emulator. It is installed only when that is allowed: see below."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tencent_ci_emulator.http.operations import OPERATIONS, OTHER
from tencent_ci_emulator.server import Emulator
from tests.emulator.audio_tools import SPEECH
from tests.job_samples import TAGS, request_of
from tests.patience import PATIENCE

FOLDER = Path(__file__).parents[2] / "node"
#: Set to 1, this lets the test install the SDK with npm, into a temporary folder.
ALLOWED = "CI_EMULATOR_NPM_INSTALL"
INSTALL = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
#: What drive.js does, in this order.
PARTS = ["objects", "uploadsInParts", "services", "jobs", "types", "templates", "queues", "batches"]
PARTS += ["doubled", "wrongKey", "buckets"]
#: Copying is not served.
CALLS = sorted(set(OPERATIONS) - {"copy_object", OTHER})
#: An unknown id is no error there, but a NonExistJobIds.
NEVER_REFUSED = {"describe_batch"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with node_modules."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    if (FOLDER / "node_modules").is_dir():
        return FOLDER
    if os.environ.get(ALLOWED) != "1":
        pytest.skip(f"tests/node has no node_modules: run npm install there, or set {ALLOWED}=1")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("node")
    shutil.copy(FOLDER / "package.json", folder)
    done = subprocess.run(INSTALL, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# For each way of sending calls, what befalls the first submission that the SDK then repeats by itself
@pytest.mark.parametrize(
    ("way", "fault"), [("ip", {"status": 500}), ("ip", {"status": 503}), ("domain", {"drop": True})]
)
def test_the_node_sdk_makes_every_call(installed, way, fault):
    with Emulator(queue_seconds=60, unbound="MediaBucketUnBinded") as emulator:
        emulator.faults.add("submit", key="in/doubled.mp3", nth=1, when="after", **fault)
        settings = {
            "Way": way,
            "Address": f"127.0.0.1:{emulator.port}",
            "Bucket": emulator.bucket,
            "Region": emulator.region,
            "SecretId": emulator.secret_id,
            "SecretKey": emulator.secret_key,
            "Speech": str(SPEECH),
            "Requests": [request_of(tag, f"node/{tag}", emulator.bucket, emulator.region) for tag in TAGS],
        }
        done = subprocess.run(
            ["node", str(FOLDER / "drive.js")],
            cwd=installed,
            env={**os.environ, "CI_EMULATOR": json.dumps(settings)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.split() == PARTS
        # Repeated by the SDK although the first was accepted: two jobs, two charges
        assert len(emulator.ledger.accepted_jobs(key="in/doubled.mp3")) == 2
        # Every call that there is has been answered, well and badly
        for operation in CALLS:
            statuses = {one.status or 0 for one in emulator.ledger.requests(operation)}
            assert statuses & {200, 204, 206}, operation
            assert operation in NEVER_REFUSED or max(statuses) >= 400, operation
        # Only the bucket's own hosts name it, not the address itself, nor the regional host of the lists
        named = {"ip": {"submit"}, "domain": set()}[way]
        for operation in ("submit", "list_media_buckets"):
            expected = emulator.bucket if operation in named else None
            assert {one.bucket for one in emulator.ledger.requests(operation)} == {expected}
