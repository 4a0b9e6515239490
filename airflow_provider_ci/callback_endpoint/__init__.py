"""The endpoint on Airflow's API server that takes the service's callbacks (Airflow 3.3 and newer).

It believes nothing of a callback but the ids of jobs, and asks the service about these:

``plugin``            the plugin of Airflow, which exists only if it is configured
``application``       HTTP: checks the address, reads the ids, and responds
``received_jobs``     the jobs of which callbacks have come, in a queue of limited size
``processing``        asks the service about them, and decides what follows
``waiting_tasks``     the deferred tasks that wait for jobs, in Airflow's database
``asset_events``      the events of jobs that have ended, in Airflow's database
"""
