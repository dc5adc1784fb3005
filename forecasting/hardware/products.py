"""Products of matrices on one thread each, while many series are forecast.

Above a few hundred thousand multiplications the library beneath NumPy shares a product out, and its
threads spin for a while after it: they take the cores from the network that runs next, and from
whoever else is on the machine. What is shared out here are chunks of series.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

from forecasting.hardware.switches import Switch


def products_on_one_thread() -> AbstractContextManager[None]:
    """Within it NumPy's products take one thread; after it as many as they were found with.

    A setting of the whole process: products of other threads are bound by it, too.
    """
    return _ONE.at(True)


@lru_cache(maxsize=1)
def _libraries() -> list[Any]:
    """Those that multiply for NumPy, looked for once: it takes a millisecond."""
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def _one(_: bool) -> Iterator[None]:
    libraries = [(library, library.get_num_threads()) for library in _libraries()]
    for library, _ in libraries:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in libraries:
            library.set_num_threads(threads)


_ONE = Switch(_one, any)
