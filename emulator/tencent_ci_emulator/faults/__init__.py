"""What goes wrong on demand: the fault plan, and how it is injected into calls, jobs and callbacks."""
