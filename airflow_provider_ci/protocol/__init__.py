"""The wire protocol of Cloud Infinite's job API, sans I/O: no Airflow, no sockets, no clock except by
argument.
"""
