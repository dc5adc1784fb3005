"""Freed memory: kept while training, given back after it, and no slower to take from then on."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Pages that the system has to hand over for arrays that come and go, in a process of its own.
COUNT = """
import resource
import numpy as np
from forecasting.hardware.allocation import kept_memory

def faults(size):
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(40):
        first = np.ones(size)
        second = first * 2.0
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

size = int({size})
np.ones(3_500_000)  # freed at once: from here on the process keeps blocks of this size
faults(size)
before = faults(size)
with kept_memory(), kept_memory():
    faults(size)
    within = faults(size)
faults(size)
print(before, within, faults(size))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is on Linux")
@pytest.mark.parametrize("size", [2e4, 2e5, 1e6])
def test_arrays_are_as_quick_to_come_by_after_training_as_before(size: float) -> None:
    run = subprocess.run(
        [sys.executable, "-c", COUNT.format(size=size)], capture_output=True, text=True, check=True
    )
    before, within, after = map(int, run.stdout.split())
    assert within < 50
    assert after <= before + 50
