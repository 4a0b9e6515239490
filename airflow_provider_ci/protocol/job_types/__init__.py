"""The types of jobs behind ``POST /jobs``, by their ``Tag``: :func:`.known_types.job_type` knows all."""
