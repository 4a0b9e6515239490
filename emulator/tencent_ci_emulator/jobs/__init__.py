"""Jobs and queues: the calls of CI, and what carries them out."""
