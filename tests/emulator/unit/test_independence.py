"""The emulator is a house of its own: it runs where neither Airflow nor the provider is installed."""

from __future__ import annotations

import subprocess
import sys

from tests.patience import PATIENCE

RUN = """
import sys, urllib.error, urllib.request

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("airflow", "airflow_provider_ci", "requests", "tests"):
            raise ModuleNotFoundError(f"{name} is imported", name=name)

sys.meta_path.insert(0, Refuse())
import tencent_ci_emulator.cli
from tencent_ci_emulator.server import Emulator
with Emulator() as emulator:
    try:
        urllib.request.urlopen(emulator.url + "/jobs", timeout=300)
    except urllib.error.HTTPError as refused:
        print(refused.code, refused.headers["Server"])
"""


def test_it_serves_in_a_process_that_can_import_neither_airflow_nor_the_provider(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.stdout == "401 tencent-ci\n", done.stderr
