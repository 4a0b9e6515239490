"""``make live``: settles with a real account what Tencent's documents leave open (``docs/live.md``)."""
