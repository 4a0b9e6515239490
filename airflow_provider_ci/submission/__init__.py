"""One paid job for each task instance: its idempotency key, its record, how it is found again, and how it is
waited for. No Airflow, and no I/O of its own.
"""
