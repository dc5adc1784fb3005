"""Structured logs: one JSON object per line on standard error."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_least = _LEVELS["info"]


def configure(level: str) -> None:
    """Drop what is below a level."""
    global _least
    _least = _LEVELS[level]
    root = logging.getLogger()
    if not any(isinstance(handler, _Lines) for handler in root.handlers):
        root.addHandler(_Lines(logging.WARNING))


class _Lines(logging.Handler):
    """What libraries warn of, in the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        fields: dict[str, Any] = {"logger": record.name, "detail": record.getMessage()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["reason"] = repr(record.exc_info[1])
        write(level if level in _LEVELS else "error", "library", **fields)


def write(level: str, event: str, **fields: Any) -> None:
    """One line; fields that are None are left out."""
    if _LEVELS[level] < _least:
        return
    line: dict[str, Any] = {
        "at": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "event": event,
    }
    line.update({key: value for key, value in fields.items() if value is not None})
    sys.stderr.buffer.write(orjson.dumps(line, default=str) + b"\n")
    sys.stderr.buffer.flush()


def info(event: str, **fields: Any) -> None:
    """One line of level info."""
    write("info", event, **fields)


def warning(event: str, **fields: Any) -> None:
    """One line of level warning."""
    write("warning", event, **fields)


def error(event: str, **fields: Any) -> None:
    """One line of level error."""
    write("error", event, **fields)


def debug(event: str, **fields: Any) -> None:
    """One line of level debug."""
    write("debug", event, **fields)


def failure(event: str, problem: BaseException, **fields: Any) -> None:
    """An error with its traceback, for those who mend the service."""
    import traceback

    text = "".join(traceback.format_exception(problem))
    write("error", event, reason=repr(problem), traceback=text, **fields)
