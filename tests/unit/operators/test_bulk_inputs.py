"""The check of a bulk task's inputs, and their length, with responses that the emulator does not give."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_ci.exceptions import PermissionDeniedError, RequestValidationError
from airflow_provider_ci.hooks.ci import TencentCIHook
from airflow_provider_ci.operators import concurrent_reads
from airflow_provider_ci.operators.bulk_cost import MediaLength, estimate_length
from airflow_provider_ci.operators.bulk_inputs import check_inputs
from airflow_provider_ci.operators.bulk_items import BulkItems, read_items
from airflow_provider_ci.operators.concurrent_reads import THREADS, read_concurrently
from airflow_provider_ci.operators.voice_separate_bulk import VoiceSeparateBulkOperator
from tests.patience import PATIENCE
from tests.scripted_server import Answer, Recorded, ScriptedServer, error, http
from tests.unit.operators.bulk_operator import rendered

HERE: Any = {"bucket": None, "region": None}
LOG = logging.getLogger(__name__)


@pytest.fixture
def hook(server: ScriptedServer, connection: Callable[..., str]) -> Iterator[TencentCIHook]:
    hook = TencentCIHook(connection(server.url, read_timeout=PATIENCE))
    hook.sleep = lambda _: None
    yield hook
    hook.close()


def not_killed() -> None:
    pass


def read(hook: TencentCIHook, **arguments: Any) -> BulkItems:
    operator = rendered(
        VoiceSeparateBulkOperator, audio_mode="IsAudio", voice_object="out/${jobid}", **arguments
    )
    return read_items(operator, hook, hook.settings.endpoint(), LOG)


def check(hook: TencentCIHook, items: BulkItems) -> None:
    check_inputs(items, range(len(items)), hook, HERE, not_killed)


def heads(**objects: dict[str, str]) -> Callable[[Recorded], Answer]:
    """Return what answers to HEAD by the last part of a key."""
    return lambda sent: http(length=5, **objects[sent.path.rpartition("/")[2]])


def listing(*objects: tuple[str, str, str]) -> Answer:
    """Answer with a list of objects: key, storage class, and tier."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>5</Size><StorageClass>{kind}</StorageClass>"
        f"<StorageTier>{tier}</StorageTier></Contents>"
        for key, kind, tier in objects
    )
    return http(f"<ListBucketResult>{contents}</ListBucketResult>")


def media_info(duration: str) -> Answer:
    return http(
        f"<Response><MediaInfo><Format><Duration>{duration}</Duration></Format></MediaInfo></Response>"
    )


class TestArchivedInputs:
    def test_they_are_named(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always(
            "HEAD",
            heads(
                a={"x_cos_storage_class": "ARCHIVE"},
                b={"x_cos_storage_class": "ARCHIVE", "x_cos_restore": 'ongoing-request="false"'},
                c={"x_cos_storage_class": "INTELLIGENT_TIERING", "x_cos_storage_tier": "DEEP_ARCHIVE"},
            ),
        )
        with pytest.raises(RequestValidationError) as caught:
            check(hook, read(hook, input_objects=["in/a", "in/b", "in/c"]))
        assert caught.value.message.endswith(
            "'in/a' is archived (ARCHIVE), and must be restored first; 'in/c' is archived (DEEP_ARCHIVE), and"
            " must be restored first"
        )

    def test_under_a_prefix_only_those_are_looked_at(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(
            listing(
                ("in/a", "STANDARD", ""),
                ("in/b", "ARCHIVE", ""),
                ("in/c", "INTELLIGENT_TIERING", ""),
                ("in/d", "INTELLIGENT_TIERING", "FREQUENT"),
            )
        )
        server.always(
            "HEAD",
            heads(
                b={"x_cos_storage_class": "ARCHIVE", "x_cos_restore": 'ongoing-request="false"'},
                c={"x_cos_storage_class": "INTELLIGENT_TIERING", "x_cos_storage_tier": "FREQUENT"},
            ),
        )
        check(hook, read(hook, prefix="in/"))
        assert sorted(sent.path for sent in server.requests if sent.method == "HEAD") == ["/in/b", "/in/c"]


class TestErrorsOfAllInputs:
    def test_a_missing_permission_ends_the_check(
        self, hook: TencentCIHook, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(concurrent_reads, "_PLANNED_MAX", 20)
        server.always("HEAD", http(status=403, length=0))
        with pytest.raises(PermissionDeniedError):
            check(hook, read(hook, input_objects=[f"in/{number}" for number in range(100)]))
        assert len(server.requests) <= 20

    def test_throttling_is_waited_for(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http(status=503, length=0), http(length=5))
        check(hook, read(hook, input_objects=["in/a"]))

    def test_a_missing_permission_ends_the_measuring(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        server.play(error(403, "AccessDenied"))
        with pytest.raises(PermissionDeniedError):
            estimate_length(read(hook, input_objects=["in/a"]), [0], 20, hook, HERE, not_killed, LOG)


class TestLength:
    def test_a_file_without_duration_counts_as_the_others(
        self, hook: TencentCIHook, server: ScriptedServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.always("GET", lambda sent: media_info("" if sent.path == "/in/a" else "90"))
        items = read(hook, input_objects=["in/a", "in/b", "in/c"])
        assert estimate_length(items, range(3), "all", hook, HERE, not_killed, LOG) == MediaLength(3, 4.5, 2)
        (warning,) = [each.getMessage() for each in caplog.records if each.name == LOG.name]
        assert warning.startswith("The length of 1 of 3 inputs is unknown")
        assert warning.endswith(": media_info shows no duration")

    def test_a_file_that_cannot_be_downloaded_counts_as_the_others(
        self, hook: TencentCIHook, server: ScriptedServer
    ) -> None:
        refusal = error(400, "ResourceDownloadFailed")
        server.always("GET", lambda sent: refusal if sent.path == "/in/a" else media_info("90"))
        items = read(hook, input_objects=["in/a", "in/b"])
        assert estimate_length(items, range(2), "all", hook, HERE, not_killed, LOG) == MediaLength(2, 3.0, 1)

    def test_without_any_duration_it_is_unknown(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.play(http("<Response><MediaInfo><Stream/></MediaInfo></Response>"))
        items = read(hook, input_objects=["in/a"])
        assert estimate_length(items, [0], 5, hook, HERE, not_killed, LOG) == MediaLength(1, None, 0)

    def test_the_sample_is_distributed_evenly(self, hook: TencentCIHook, server: ScriptedServer) -> None:
        server.always("GET", media_info("60"))
        items = read(hook, input_objects=[f"in/{number}" for number in range(9)])
        length = estimate_length(items, range(1, 9), 4, hook, HERE, not_killed, LOG)
        assert length == MediaLength(8, 8.0, 4)
        assert sorted(sent.path for sent in server.requests) == ["/in/1", "/in/3", "/in/5", "/in/7"]


class TestConcurrentReads:
    def test_results_come_in_the_order_of_the_values(self) -> None:
        values = range(3 * concurrent_reads._PLANNED_MAX)
        assert list(read_concurrently(lambda value: -value, values, not_killed)) == [-each for each in values]

    def test_several_reads_are_on_their_way_at_once(self) -> None:
        barrier = threading.Barrier(THREADS)

        def read(value: int) -> int:
            barrier.wait(PATIENCE)  # each waits for the others
            return value

        assert len(list(read_concurrently(read, range(2 * THREADS), not_killed))) == 2 * THREADS

    def test_closing_it_ends_the_reads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        begun: list[int] = []
        results = read_concurrently(lambda value: begun.append(value), range(10**9), not_killed)
        next(results)
        results.close()
        count = len(begun)
        assert count <= concurrent_reads._PLANNED_MAX
        assert not [each for each in threading.enumerate() if each.name.startswith("ci-read")]
