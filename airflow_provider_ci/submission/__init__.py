"""One paid job for each task instance: what identifies it, what is recorded of it, how it is found again and
followed. Neither Airflow nor I/O of its own.
"""
