"""What torch keeps once per process: the precision of its products and its random state."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from forecasting.hardware.switches import Switch


@contextmanager
def _products(precision: str) -> Iterator[None]:
    before, layers = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # cuDNN's recurrent layers have a switch of their own, which stands on TF32 if left alone.
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = layers


def _most_exact(asked: Sequence[str]) -> str:
    return next((each for each in asked if each != "tf32"), "tf32")


_PRODUCTS = Switch(_products, _most_exact)
_RANDOM = threading.RLock()


def products_in(precision: str) -> AbstractContextManager[None]:
    """Within it float32 products are taken in TF32 if that is the ``precision``, else in float32.

    Where trainings overlap, TF32 holds only if all of them ask for it.
    """
    return _PRODUCTS.at(precision)


@contextmanager
def own_randomness(device: torch.device | None = None) -> Iterator[None]:
    """Within it torch's random state is ours to seed; the caller's comes back afterwards.

    Threads wait for each other: what one seeds, no other draws from.
    """
    on_gpu = [device] if device is not None and device.type == "cuda" else []
    with _RANDOM, torch.random.fork_rng(devices=on_gpu):
        yield


def random_state_held() -> AbstractContextManager[Any]:
    """Within it no other thread is in `own_randomness`: for who is to set the state back."""
    return _RANDOM
