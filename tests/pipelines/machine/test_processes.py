"""A child process is asked to end, and made to when it does not."""

from __future__ import annotations

import signal
import subprocess
import sys

from pipelines.machine.processes import stop

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True)"


def test_a_process_that_does_not_hear_is_killed_when_its_time_is_up() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", f"{DEAF}; time.sleep(60)"],
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stop(process, 0.2)
        assert process.returncode == -signal.SIGKILL


def test_one_that_has_ended_keeps_its_status() -> None:
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        process.wait()
        stop(process, 0.2)
        assert process.returncode == 3
