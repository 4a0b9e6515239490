"""Triggers, and the poller that they share."""
