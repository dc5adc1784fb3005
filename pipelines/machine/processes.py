"""Child processes: stopped with patience, and with force when that is spent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Ask a process to end; kill it and its group when it has not ended in time.

    Parameters
    ----------
    process
        The leader of a group of its own (``start_new_session``); it may have ended already.
    seconds
        How long it may take to end by itself.
    """
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
