"""Bundles of older forms open as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from forecasting.forecaster import Forecaster
from forecasting.networks.decoders import StateDecoder
from tests.forecasting.samples import make_panel, quantiles, settings, untrained


def test_a_decoder_that_read_both_ways_is_opened_as_it_was_trained(tmp_path: Path) -> None:
    config = settings(
        model={"bidirectional": True, "decoder": "encoder_decoder", "hidden_size": 8},
        training={"origins": "last"},
    )
    old = untrained(config)
    decoder = old.networks[0].decoder
    assert isinstance(decoder, StateDecoder)
    torch.manual_seed(1)
    decoder.read_both_ways(config.model)
    panel = make_panel([40, 30])
    bundle = old.save(tmp_path / "b")
    opened = Forecaster.load(bundle)
    np.testing.assert_allclose(quantiles(opened, panel), quantiles(old, panel))
    again = Forecaster.load(opened.save(tmp_path / "c"))
    np.testing.assert_allclose(quantiles(again, panel), quantiles(old, panel))
