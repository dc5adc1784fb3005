"""Messages that were taken already, in whichever worker: a second time they say nothing new."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

OLDEST_SECONDS: Final = 300.0  # that a signature holds, either way: clocks differ


class Deliveries:
    """Remembers messages for a while: in files, which all workers of a replica share.

    Parameters
    ----------
    folder : of the files. seconds : how long a message may come again.
    """

    def __init__(self, folder: Path, seconds: float = 2 * OLDEST_SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self._turn = Lock()
        # Where no file can be written this worker's memory has to do.
        self._held: dict[str, float] = {}

    def first(self, message: str) -> bool:
        """Whether a message comes for the first time; from now on it does not."""
        name = hashlib.sha256(message.encode()).hexdigest()
        with self._turn:
            now = time.time()
            self._forget(now)
            if name in self._held:
                return False
            self._held[name] = now
            try:
                self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.close(os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                return False
            except OSError:
                pass
            return True

    def _forget(self, now: float) -> None:
        before = now - self.seconds
        self._held = {name: then for name, then in self._held.items() if then >= before}
        with suppress(OSError):
            for file in self.folder.iterdir():
                with suppress(OSError):
                    if file.stat().st_mtime < before:
                        file.unlink()
