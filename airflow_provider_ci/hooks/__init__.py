"""The hook and what it sends with."""
