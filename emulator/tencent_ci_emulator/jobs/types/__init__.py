"""One module for each type of job that is worked on: its parameters, their rules, its work and its result."""
