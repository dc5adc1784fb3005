"""Structured logs: one JSON object per line on standard error."""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.running.masking import hide_in

PIPE_BYTES = 4_096  # that a pipe with room takes at once
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
    # Text by text: in the line, a secret would end where its neighbours do.
    line.update({key: hide_in(value) for key, value in fields.items() if value is not None})
    _put(orjson.dumps(line, default=str) + b"\n")


_lost = 0
_cut = False


def _put(line: bytes) -> None:
    """Write a line, or count it as lost: a reader that stalls must not stop the service."""
    global _lost, _cut
    try:
        target = sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        sys.stderr.write(line.decode())
        return
    if _lost:
        line = (
            orjson.dumps({"level": "warning", "event": "log lines lost", "count": _lost})
            + b"\n"
            + line
        )
    if _cut:
        line = b"\n" + line
    for begin in range(0, len(line), PIPE_BYTES):
        if not _has_room(target):
            _lost += 1
            _cut = _cut or begin > 0
            return
        try:
            os.write(target, line[begin : begin + PIPE_BYTES])
        except OSError:
            _lost += 1
            return
    _lost, _cut = 0, False


def _has_room(target: int) -> bool:
    """Whether so many bytes can be written without waiting, as POSIX promises of pipes."""
    watch = select.poll()
    watch.register(target, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in watch.poll(0))


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
