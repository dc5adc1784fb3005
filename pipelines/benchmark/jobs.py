"""Several public sets at once: one `gatecast benchmark` per set, so many at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from forecasting.errors import GatecastError

# One thread each: more would only wait for one another.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_apart(
    names: Sequence[str],
    options: Sequence[str],
    jobs: int,
    say: Callable[[str, str], None],
) -> None:
    """Score every set in a process of its own, on one thread; each keeps its own results.

    Parameters
    ----------
    names : of the sets, begun in this order. options : of the command, as on a command line.
    jobs : processes at a time.
    say : called with a set's name and what its process printed, when it is done.

    Raises
    ------
    GatecastError : some sets failed, each named with its last line; the others are scored.
    """
    failed = []
    with ThreadPoolExecutor(jobs) as pool:
        started = {pool.submit(_score, name, options): name for name in names}
        for done in as_completed(started):
            code, printed = done.result()
            say(started[done], printed)
            if code:
                failed.append(f"{started[done]}: {(printed.strip().splitlines() or ['?'])[-1]}")
    if failed:
        raise GatecastError(f"{len(failed)} of {len(names)} sets failed; " + "; ".join(failed))


def _score(name: str, options: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "benchmark", name, *options, "--jobs", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=Path.cwd(),
        env=os.environ
        | ONE_THREAD
        | {"COLUMNS": str(max(shutil.get_terminal_size().columns, 120))},
    )
    return done.returncode, done.stdout
