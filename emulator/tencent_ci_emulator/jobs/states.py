"""The states of jobs and batch jobs, spelled as the service spells them (460/84765)."""

from __future__ import annotations

SUBMITTED = "Submitted"
RUNNING = "Running"
SUCCESS = "Success"
FAILED = "Failed"
PAUSE = "Pause"
CANCEL = "Cancel"
STATES = (SUBMITTED, RUNNING, SUCCESS, FAILED, PAUSE, CANCEL)
#: Those of a job that has not begun, so that it can still be cancelled
WAITING = (SUBMITTED, PAUSE)
#: Those of a job that has not ended
UNFINISHED = (*WAITING, RUNNING)
