"""Side-by-side measurements, each a command that prints ratios: ``python -m benchmarks.poller``."""
