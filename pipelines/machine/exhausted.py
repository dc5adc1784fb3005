"""What a machine has run out of, told from errors of the libraries that met it first."""

from __future__ import annotations

import errno
from collections.abc import Iterator

# By number of the system's error: what is the matter, and what helps.
_NUMBERS = {
    errno.ENOSPC: "no space is left on the disk{where}: free some",
    errno.EDQUOT: "the disk quota is used up{where}: free some space, or have it raised",
    errno.EROFS: "a file or its disk is read-only{where}: make it writable, or set GATECAST_HOME",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: close some",
    errno.ENOMEM: "memory ran out: end other programs, or take a smaller table",
}
# SQLite, Rust and C++ write numbers and words of their own.
_WORDS = {
    "no space left on device": errno.ENOSPC,
    "database or disk is full": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "readonly database": errno.EROFS,
    "read-only file system": errno.EROFS,
    "too many open files": errno.EMFILE,
    "cannot allocate memory": errno.ENOMEM,
    "std::bad_alloc": errno.ENOMEM,
}


def exhausted(error: BaseException) -> str | None:
    """One line on what this machine lacks and what to do; None where that is not the fault.

    Looks through the errors that led to this one.
    """
    for one in _chain(error):
        number = _number(one)
        if number is not None:
            name = one.filename if isinstance(one, OSError) else None
            where = f" of {name}" if name else ""
            return (
                _NUMBERS[number].format(where=where)
                + ", then give the same command again; what was finished before is kept"
            )
    return None


def _number(error: BaseException) -> int | None:
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        return error.errno
    text = str(error).lower()
    return next((number for words, number in _WORDS.items() if words in text), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__ or at.__context__
