"""The device that a name means, or why there is none."""

from __future__ import annotations

import torch

from forecasting.errors import ConfigError, TrainingError


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a GPU where there is one.

    Raises
    ------
    ConfigError : no such device. TrainingError : a GPU is named, and the machine has none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device = {name}: choose auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device = cuda, but this machine shows no GPU; use device = cpu")
    return device
