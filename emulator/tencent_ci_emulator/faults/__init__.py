"""The fault plan: faults of calls, jobs and callbacks on demand."""
