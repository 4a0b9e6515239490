"""Where a trigger's watermark is kept: with each asset that it watches, in any release that has a store."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from airflow_provider_ci.submission.watermark import EndedJobsWatermark, SeenJob
from airflow_provider_ci.triggers.watermark_store import WatermarkStore
from tests.airflow_version import HAS_SHARED_STREAMS

LOG = logging.getLogger(__name__)
WATERMARK = EndedJobsWatermark(100.0, ["j1"])
WATERMARK.note_announced(SeenJob("j2", 105.0, 110.0))


class SyncAsset:
    """Airflow's accessor before 3.3.2, which blocks."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value


class AsyncAsset(SyncAsset):
    async def aget(self, key: str) -> Any:
        return self.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self.set(key, value)


class Stores:
    def __init__(self, *assets: SyncAsset) -> None:
        self._by_name = {str(number): asset for number, asset in enumerate(assets)}


def test_a_watermark_is_stored_with_each_asset_and_read_from_any():
    assets = [AsyncAsset(), SyncAsset()]
    store = WatermarkStore(Stores(*assets), "key", LOG)
    assert asyncio.run(store.load()) is None
    assert asyncio.run(store.save(WATERMARK, ["j2"]))
    for asset in assets:
        assert asset.values == {"key": WATERMARK.to_json(["j2"])}

    assets[0].values.clear()  # this asset is watched since today
    loaded = asyncio.run(store.load())
    assert loaded is not None
    assert (loaded.since, loaded.pending, loaded.announced) == (100.0, {"j1", "j2"}, {})


@pytest.mark.skipif(not HAS_SHARED_STREAMS, reason="assets have a state store from Airflow 3.3 on")
def test_airflows_own_mapping_has_the_assets():
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    stores = AssetStateStoreAccessors(inlets=[Asset("a"), Asset("b")])
    assert len(WatermarkStore(stores, "key", LOG)._assets) == 2
