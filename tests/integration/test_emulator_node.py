"""Tencent's SDK for Node drives the emulator. It is installed only when that is allowed: see below."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from airflow_provider_ci.emulator.server import Emulator

FOLDER = Path(__file__).parents[1] / "node"
#: Set to 1, this lets the test install the SDK with npm, into a temporary folder.
ALLOWED = "CI_EMULATOR_NPM_INSTALL"
INSTALL = ["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]


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
    done = subprocess.run(INSTALL, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_cos_nodejs_sdk(installed):
    with Emulator(queue_seconds=60) as emulator:
        emulator.faults.add("submit", key="in/doubled-ip.mp3", nth=1, status=500, when="after")
        emulator.faults.add("submit", key="in/doubled-domain.mp3", nth=1, drop=True, when="after")
        settings = {
            "Address": f"127.0.0.1:{emulator.port}",
            "Bucket": emulator.bucket,
            "Region": emulator.region,
            "SecretId": emulator.secret_id,
            "SecretKey": emulator.secret_key,
        }
        done = subprocess.run(
            ["node", str(FOLDER / "drive.js")],
            cwd=installed,
            env={**os.environ, "CI_EMULATOR": json.dumps(settings)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines() == ["ip: ok", "domain: ok"]
        for way in ("ip", "domain"):
            # Repeated by the SDK although the first was accepted: two jobs, two charges
            assert len(emulator.ledger.accepted_jobs(key=f"in/doubled-{way}.mp3")) == 2
        assert emulator.ledger.requests("submit")[0].bucket == emulator.bucket
