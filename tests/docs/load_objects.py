"""Many objects for the emulator, as docs/testing-dags.md shows it."""

# [START load]
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from airflow_provider_ci.hooks.ci import TencentCIHook


def load(recording: str, number: int, prefix: str = "in/") -> None:
    """Upload one recording under many keys."""
    keys = [f"{prefix}{n:06}{Path(recording).suffix}" for n in range(number)]
    with TencentCIHook() as hook, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: hook.upload_file(recording, key), keys))
        # [END load]
