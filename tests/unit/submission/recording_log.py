"""A logger that keeps its lines."""

from __future__ import annotations


class RecordingLog:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *args: object) -> None:
        self.lines.append("info: " + message % args)

    def warning(self, message: str, /, *args: object) -> None:
        self.lines.append("warning: " + message % args)

    def error(self, message: str, /, *args: object) -> None:
        self.lines.append("error: " + message % args)
