"""DAGs that the benchmarks run."""

#: Seconds between two polls, in every way of waiting.
POLL_SECONDS = 5.0
BUCKET, REGION = "media-1250000001", "ap-guangzhou"
