"""The calls of the emulator itself: the admin path and the status page."""
