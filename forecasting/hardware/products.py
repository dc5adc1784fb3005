"""Products of matrices on one thread each, while many series are forecast.

Above a few hundred thousand multiplications the library beneath NumPy shares a product out, and its
threads spin for a while after it: they take the cores from the network that runs next, and from
whoever else is on the machine. What is shared out here are chunks of series.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache

from threadpoolctl import ThreadpoolController

from forecasting.hardware.switches import Switch


def products_on_one_thread() -> AbstractContextManager[None]:
    """Within it NumPy's products take one thread; after it as many as they were found with.

    A setting of the whole process: products of other threads are bound by it, too.
    """
    return _ONE.at(True)


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """Those that multiply for NumPy, looked for once: it takes a millisecond."""
    return ThreadpoolController().select(user_api="blas")


_ONE = Switch(lambda _: _libraries().limit(limits=1), any)
