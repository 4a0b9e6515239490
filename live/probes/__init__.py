"""The probes, by subject. Each settles one observation of the table in :mod:`live.observations`."""
