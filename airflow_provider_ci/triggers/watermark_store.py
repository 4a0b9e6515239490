"""Keeps a watermark in the state store of the assets that a trigger watches (Airflow 3.3 or newer)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow_provider_ci.submission.watermark import EndedJobsWatermark

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_provider_ci.submission.tracking import Log


# Before a store that failed is read again, seconds
_PAUSE = 5.0


class WatermarkStore:
    """The watermark of one trigger, under one key of each asset that it watches.

    :param state_store: Airflow's ``asset_state_store`` of the trigger, or ``None`` if there is none.
    :param key: the same for the same arguments of a trigger.
    :param log: receives a warning if the store cannot be used.
    """

    def __init__(self, state_store: Any, key: str, log: Log) -> None:
        self._key = key
        self._log = log
        # Airflow merges watchers with equal triggers, and has no public way to list their assets
        self._assets = list(getattr(state_store, "_by_name", {}).values())
        self._is_failing = False

    async def load(self) -> EndedJobsWatermark | None:
        """Return the stored watermark, or ``None`` if there is none. Waits until the store can be read."""
        if not self._assets:
            self._log.warning(
                "Airflow provides no asset state store, so ends of jobs while no triggerer runs are missed."
                " Put the trigger into an AssetWatcher of an Asset"
            )
        is_failing = False
        while True:
            try:
                return await self._load()
            except Exception as error:
                if not is_failing:
                    self._log.warning("The asset state store cannot be read, will keep trying: %s", error)
                is_failing = True
            await asyncio.sleep(_PAUSE)

    async def _load(self) -> EndedJobsWatermark | None:
        for asset in self._assets:
            if (state := await _get(asset, self._key)) is not None:
                return self._read(state)
        return None

    def _read(self, state: Any) -> EndedJobsWatermark | None:
        try:
            return EndedJobsWatermark.from_json(state)
        except ValueError as error:
            self._log.warning(
                "The asset state store's value for %r is not used, watching begins anew: %s. Look in the"
                " console for jobs that ended since the last event",
                self._key,
                error,
            )
            return None

    async def save(self, watermark: EndedJobsWatermark, unconfirmed: Collection[str]) -> bool:
        """Store a watermark, and return whether that succeeded."""
        state = watermark.to_json(unconfirmed)
        try:
            for asset in self._assets:
                await _set(asset, self._key, state)
        except Exception as error:
            if not self._is_failing:
                self._log.warning(
                    "The asset state store cannot be written, events may come again after a restart: %s",
                    error,
                )
            self._is_failing = True
            return False
        self._is_failing = False
        return True


async def _get(asset: Any, key: str) -> Any:
    if hasattr(asset, "aget"):
        return await asset.aget(key)
    return await asyncio.to_thread(asset.get, key)  # before Airflow 3.3.2


async def _set(asset: Any, key: str, value: Any) -> None:
    if hasattr(asset, "aset"):
        await asset.aset(key, value)
    else:
        await asyncio.to_thread(asset.set, key, value)
