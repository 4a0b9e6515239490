"""The states of jobs and batch jobs, spelled as the service spells them (460/84765)."""

from __future__ import annotations

SUBMITTED = "Submitted"
RUNNING = "Running"
SUCCESS = "Success"
FAILED = "Failed"
PAUSE = "Pause"
CANCEL = "Cancel"
STATES = (SUBMITTED, RUNNING, SUCCESS, FAILED, PAUSE, CANCEL)
#: A job in one of them has not begun, so that it can be cancelled
WAITING = (SUBMITTED, PAUSE)
#: A job in one of them has not ended
UNFINISHED = (*WAITING, RUNNING)
