"""What the written-out layers share: torch's interpreter, and when they are what is wanted."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from forecasting.hardware.switches import no_warnings

# Rows of gates, steps times windows, that are read again before the cache has lost them.
ROWS_IN_CACHE = 1024

# Several threads may want to compile at once, and nobody says that torch bears that.
_SCRIPTING = threading.Lock()
# A forked process must not inherit a lock that a thread, which it has not, holds.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SCRIPTING._at_fork_reinit)  # type: ignore[attr-defined]


def scripted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function run by torch's own interpreter, which asks for Python's lock but once.

    As it stands where this Python has no such interpreter.
    """
    with _SCRIPTING:
        return _compiled(function)


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    with no_warnings():
        try:
            compiled: Callable[..., Any] = torch.jit.script(function)
        except RuntimeError:
            return function
    return compiled


def written_out(layer: nn.RNNBase, x: Tensor) -> bool:
    """Whether a layer reads ``x`` to learn from it, on a CPU and in a way that is written out."""
    return (
        x.device.type == "cpu"
        and torch.is_grad_enabled()
        and not layer.bidirectional
        and layer.num_layers == 1
        and not torch.is_autocast_enabled("cpu")
        and not torch.jit.is_tracing()  # type: ignore[no-untyped-call]
        and not torch.compiler.is_compiling()
    )


def chunk(batch: int) -> int:
    """Steps that are worked on while their gates stay in cache."""
    return max(ROWS_IN_CACHE // batch, 1)
