"""Named keys of callers, kept as hashes: made, revoked, and read anew when their file changes.

``python -m serving.keys`` is what ``gatecast keys api`` runs.

A key is 32 random bytes. Whoever has the file and wants a key from its SHA-256 must try 2^256 of
them: neither salt nor a slow hash would add to that, and a slow one would let everybody who sends
wrong keys keep the service busy.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from forecasting.errors import ConfigError, GatecastError

SCOPES: Final = ("forecast", "refresh", "metrics")
PREFIX: Final = "gck_"  # by which secret scanners know a key
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNNAMED: Final = "GATECAST_API_KEY"  # the name of the key that is a setting
MAX_BYTES: Final = 4 << 20  # of the file
_HASH: Final = re.compile(r"[0-9a-f]{64}")


class KeyFileError(GatecastError):
    """A file of keys that cannot be read: nobody comes in by it."""


@dataclass(frozen=True)
class ApiKey:
    """What a key allows; never the key.

    Attributes
    ----------
    sha256 : of the key. revoked : since when, None while it is good.
    per_minute : requests, None for any number. max_body : bytes of a body, None for the service's.
    """

    name: str
    scopes: tuple[str, ...]
    sha256: str
    created: str = ""
    revoked: str | None = None
    per_minute: int | None = None
    max_body: int | None = None


class Keys:
    """The keys of a file and the one of the settings; revoked ones are known as such."""

    def __init__(self, file: Path, unnamed: str | None = None) -> None:
        self.file = file
        self._own = [] if unnamed is None else [ApiKey(UNNAMED, SCOPES, digest(unnamed))]
        self._seen: tuple[int, ...] | None = None
        self._named: list[ApiKey] = []
        self._problem: KeyFileError | None = None

    def find(self, given: str) -> ApiKey | None:
        """The key that a caller gave; None for one that there is not.

        Every key is compared, each in constant time: how long it takes tells nothing.

        Raises
        ------
        KeyFileError : it is not the one of the settings, and the file cannot be read.
        """
        named = self._read()
        hashed, match = digest(given), None
        for key in (*self._own, *named):
            if hmac.compare_digest(hashed, key.sha256):
                match = key
        if match is None and self._problem is not None:
            raise self._problem
        return match

    @property
    def any(self) -> bool:
        """Whether somebody could come in with a key."""
        return bool(self._own) or any(key.revoked is None for key in self._read())

    def check(self) -> None:
        """`KeyFileError` while the file cannot be read."""
        self._read()
        if self._problem is not None:
            raise self._problem

    def _read(self) -> list[ApiKey]:
        seen: tuple[int, ...]
        try:
            state = self.file.stat()
            seen = (state.st_mtime_ns, state.st_size, state.st_ino, state.st_ctime_ns)
        except OSError:
            seen = ()
        if seen != self._seen:
            try:
                self._named, self._problem = read(self.file), None
            except KeyFileError as error:
                # Who was revoked stands there, too: without it nobody is let in.
                self._named, self._problem = [], error
            self._seen = seen
        return self._named


def read(file: Path) -> list[ApiKey]:
    """The keys of a file; none where there is no file. `KeyFileError` where it is damaged."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeyFileError(f"cannot read the keys in {file}: {error.strerror}") from None
    try:
        if len(content) > MAX_BYTES:
            raise ValueError
        return [_key(entry) for entry in json.loads(content)["keys"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyFileError(
            f"{file} is damaged: put back a copy, or remove it and make the keys anew"
        ) from None


def add(
    file: Path,
    name: str,
    scopes: Sequence[str],
    *,
    per_minute: int | None = None,
    max_body: int | None = None,
) -> str:
    """A new key, which nobody can read again later."""
    if not NAME.fullmatch(name) or name == UNNAMED:
        raise ConfigError(
            f"a key cannot be called {name!r}: up to 64 letters, digits, dots, - and _"
        )
    wrong = [scope for scope in scopes if scope not in SCOPES]
    if wrong or not scopes:
        problem = f"no scope {wrong[0]!r}" if wrong else "a key needs a scope"
        raise ConfigError(f"{problem}: give some of {', '.join(SCOPES)}, with commas between")
    for what, number in (("--per-minute", per_minute), ("--max-body", max_body)):
        if number is not None and number < 1:
            raise ConfigError(f"{what} {number}: must be 1 or more")
    token = PREFIX + secrets.token_urlsafe(32)
    with _changing(file) as keys:
        if any(key.name == name for key in keys):
            raise ConfigError(f"there is a key {name!r}, in use or revoked: choose another name")
        in_order = tuple(scope for scope in SCOPES if scope in scopes)
        api_key = ApiKey(name, in_order, digest(token), _now(), None, per_minute, max_body)
        keys.append(api_key)
    return token


def revoke(file: Path, name: str) -> None:
    """Let nobody in by a key any more; services notice at the next request."""
    with _changing(file) as keys:
        for place, key in enumerate(keys):
            if key.name == name:
                if key.revoked is None:
                    keys[place] = replace(key, revoked=_now())
                return
        there = ", ".join(key.name for key in keys) or "none"
        raise ConfigError(f"there is no key {name!r} in {file}; there are: {there}")


def digest(key: str) -> str:
    """SHA-256 of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def main(arguments: list[str] | None = None) -> int:
    """Make, list and revoke keys; 2 for what cannot be done."""
    parser = argparse.ArgumentParser(prog="gatecast keys api")
    parser.add_argument("--file", type=Path, required=True)
    actions = parser.add_subparsers(dest="action", required=True)
    new = actions.add_parser("new")
    new.add_argument("name")
    new.add_argument("--scope", required=True)
    new.add_argument("--per-minute", type=int)
    new.add_argument("--max-body", type=int)
    actions.add_parser("list")
    actions.add_parser("revoke").add_argument("name")
    options = parser.parse_args(arguments)
    try:
        if options.action == "new":
            _print_new(options)
        elif options.action == "list":
            _print_all(options.file)
        else:
            revoke(options.file, options.name)
            print(f"{options.name} is revoked: services that read {options.file} let it in no more")
    except GatecastError as error:
        print(f"gatecast: {error}", file=sys.stderr)
        return 2
    return 0


def _print_new(given: argparse.Namespace) -> None:
    scopes = [scope.strip() for scope in given.scope.split(",") if scope.strip()]
    limits = {"per_minute": given.per_minute, "max_body": given.max_body}
    token = add(given.file, given.name, scopes, **limits)
    # The key alone on stdout, so that a shell can take it.
    print(f"{given.name} may: {', '.join(scopes)}; kept as a hash in {given.file}; ", end="",
          file=sys.stderr)  # fmt: skip
    print("the key, which is shown this once:", file=sys.stderr, flush=True)
    print(token)


def _print_all(file: Path) -> None:
    keys = read(file)
    if not keys:
        print(f"{file} holds no key; make one with `gatecast keys api new NAME --scope forecast`")
    for key in sorted(keys, key=lambda key: key.name):
        limits = [f"{key.per_minute} a minute"] if key.per_minute else []
        limits += [f"bodies up to {key.max_body} bytes"] if key.max_body else []
        state = f"revoked {key.revoked}" if key.revoked else "good"
        print("  ".join([key.name, ",".join(key.scopes), f"made {key.created}", *limits, state]))


def _key(entry: dict[str, Any]) -> ApiKey:
    key = ApiKey(**{**entry, "scopes": tuple(entry["scopes"])})
    numbers = (key.per_minute, key.max_body)
    if (
        not NAME.fullmatch(key.name)
        or not _HASH.fullmatch(key.sha256)
        or not set(key.scopes) <= set(SCOPES)
        or any(n is not None and (type(n) is not int or n < 1) for n in numbers)
        or not isinstance(key.revoked, str | None)
    ):
        raise ValueError
    return key


@contextmanager
def _changing(file: Path) -> Iterator[list[ApiKey]]:
    """The keys of a file, written back when the block ends well; one process at a time."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.with_name(f".{file.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            keys = read(file)
            yield keys
            _write(file, keys)
    except OSError as error:
        raise ConfigError(f"cannot write {file}: {error.strerror}") from None


def _write(file: Path, keys: list[ApiKey]) -> None:
    half = file.with_name(f".{file.name}.{os.getpid()}")
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o600
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(handle, "w") as opened:
            json.dump({"keys": [asdict(key) for key in keys]}, opened, indent=1)
            os.fchmod(opened.fileno(), mode)
            opened.flush()
            os.fsync(opened.fileno())
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
