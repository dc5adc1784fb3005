"""``python -m pipelines.spread.worker FOLDER``: does what comes on its input, until that ends.

Its scratch lies in the folder. Frames of bytes come in and go out, each behind its length. The
first of a task is its call, and names the files of what is shared.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from pipelines.spread.carrying import Worker
from pipelines.spread.parcel import unpack

LENGTH = 8  # bytes that say how long a frame is


def write_frame(sink: IO[bytes], data: bytes) -> None:
    """Writes bytes behind their length."""
    sink.write(len(data).to_bytes(LENGTH, "little") + data)
    sink.flush()


def read_frame(source: IO[bytes]) -> bytes | None:
    """The next bytes; None at the end, be it in the middle of a frame."""
    head = source.read(LENGTH)
    size = int.from_bytes(head, "little")
    data = source.read(size) if len(head) == LENGTH else b""
    return data if len(head) == LENGTH and len(data) == size else None


def main() -> None:
    """Work until who asks has gone."""
    # What libraries print would stand between the frames.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    frames: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        while (frame := read_frame(sys.stdin.buffer)) is not None:
            frames.put(frame)
        # Nobody wants what is being done.
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    # Below the folder of who asks, who takes it away: a worker is ended in the middle.
    with tempfile.TemporaryDirectory(prefix="worker-", dir=sys.argv[1]) as scratch:
        worker = Worker(Path(scratch))
        while True:
            frame = unpack(frames.get())
            shared = [Path(path).read_bytes for path in frame["paths"]]
            worker.carry_out(frame["call"], shared, partial(write_frame, answers))


if __name__ == "__main__":
    main()
