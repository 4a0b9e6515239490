"""Jobs and queues: the calls of CI, and the work of jobs."""
